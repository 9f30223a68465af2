#include <graft/cpu.hpp>
#include <graft/text/tokenizer.hpp>

bool refuses_a_folder_without_a_model()
{
    try {
        const graft::Tokenizer tokenizer = graft::Tokenizer::load("no/such/folder");
    } catch (const graft::Error&) {
        return true;
    }
    return false;
}
