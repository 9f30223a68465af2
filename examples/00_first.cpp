#include <cstdio>
#include <graft/checkpoint/load_model.hpp>
#include <graft/cpu.hpp>
#include <graft/text/tokenizer.hpp>

int main()
{
    const auto tokenizer = graft::Tokenizer::load("examples/data/stories260K");
    const auto model = graft::load_model<float>("examples/data/stories260K", {.base = graft::Base::nf4});
    const auto prompt = tokenizer.encode("Once upon a time");
    const auto more = graft::generate(model, prompt, {.max_tokens = 50});  // greedy, with a KV cache
    std::printf("Once upon a time%s\n", tokenizer.decode(more).c_str());
}
