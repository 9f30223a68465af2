// Chapter 5: QLoRA of a checkpoint: load it in 4 bits, train an adapter on the assistant's turns, save what PEFT reads.
#include <cstdio>
#include <graft/checkpoint/load_model.hpp>
#include <graft/cpu.hpp>
#include <graft/text/dataset.hpp>
#include <graft/train/step.hpp>

int main()
{
    const std::filesystem::path folder = "examples/data/stories260K", out = "build/chapters/05_qlora";
    const auto tokenizer = graft::Tokenizer::load(folder);
    const auto chat = graft::ChatTemplate::named("zephyr", tokenizer.special_tokens());
    const auto data = graft::load_dataset({{"examples/data/conversations.jsonl"}}, &tokenizer, {.tmpl = &chat});
    auto model = graft::load_model<float>(folder, {.base = graft::Base::nf4});
    const graft::AdapterConfig adapter{.alpha = 16, .targets = {.kind = graft::ModuleChoice::Kind::all_linear}};
    graft::add_adapter(model, adapter, /*seed*/ 1);
    graft::AdamW adamw(model, {.lr = 5e-3, .clip = 1.0});
    graft::Batches batches(data.examples, {.batch = 8, .epochs = 6, .seed = 1});
    const auto rope = model.positions(512);
    std::vector<double> loss;
    for (std::uint32_t step = 0; step < batches.steps(); ++step) {
        const auto batch = batches.micro_batches(step).front();
        loss.push_back(graft::forward_backward(model, batch, rope, 0, 1.0 / double(batch.targets), {{1, step}}));
        adamw.step(graft::factor(graft::Schedule::linear, step, batches.steps(), /*warmup*/ 2)).check();
        if (step % 5 == 0) { std::printf("step %2u  loss %.4f\n", step, loss.back()); }
    }
    std::filesystem::create_directories(out);
    graft::save_adapter(model, out);
    return std::printf("the adapter is in %s\n", out.c_str()) > 0 && loss.back() < loss.front() - 0.5 ? 0 : 1;
}
