#pragma once
#include "graft/train/memory_plan.hpp"

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "graft/io/text.hpp"
#include "graft/text/dataset/example.hpp"
#include "graft/train/batches.hpp"

namespace graft::detail {

GRAFT_INLINE Batch full_batch(std::int64_t documents, std::int64_t tokens)
{
    const std::vector<Example> examples(1, Example{.ids = std::vector<std::int32_t>(std::size_t(tokens), 0),
                                                   .labels = std::vector<std::int32_t>(std::size_t(tokens), 0),
                                                   .source = {}});
    return collate(examples, std::vector<std::int64_t>(std::size_t(documents), 0));
}

}  // namespace graft::detail

namespace graft {

GRAFT_INLINE std::string to_text(const MemoryPlan& plan)
{
    std::string text;
    const auto line = [&](const std::string& name, std::int64_t bytes) {
        std::string number = with_commas(bytes);
        number.insert(0, number.size() < 18 ? 18 - number.size() : 0, ' ');
        text += "  " + name + std::string(name.size() < 34 ? 34 - name.size() : 1, ' ') + number + "\n";
    };
    line("weights", plan.weights);
    if (plan.stacked > 0) { line("stacked adapters, frozen", plan.stacked); }
    if (plan.adapter > 0) { line("adapter", plan.adapter); }
    line("positions", plan.positions);
    line("moments of AdamW", plan.moments);
    line("activations, gradients, scratch", plan.step);
    line("peak, in " + plan.where, plan.peak);
    return text;
}

}  // namespace graft
