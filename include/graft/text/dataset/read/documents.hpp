#pragma once
#include <string>
#include <utility>

#include "graft/text/dataset/read/bytes.hpp"

// A text file: one document, or several with a text between them, each a row {"text": …}.
//
//   read_documents(bytes, place, "\n\n", use)    an empty text cuts nothing
//
// CRLF and CR become LF, as Python reads texts, before anything is cut; nothing else changes: what stands between two
// cuts is a document to the last blank, and one of white space alone is passed over.
//
// Hostile input: a document has at most 256 MiB; memory is that of one document, time linear in the file.
// Throws Error with file and line: a longer document, what is not UTF-8, a NUL byte.
namespace graft::detail::dataset {

template <class Use> void read_documents(ByteReader& bytes, RowPlace place, const std::string& split_on, Use& use)
{
    std::string text;
    place.line = bytes.line();
    const auto end_document = [&] {
        if (text.find_first_not_of(" \t\n\f\v") != std::string::npos) {
            ++place.row;
            require_utf8(text, at(place));
            Json row = Json::object();
            row["text"] = std::move(text);
            use(std::move(row), place);
        }
        text.clear();
        place.line = bytes.line();
    };
    for (int c = bytes.get(); c >= 0; c = bytes.get()) {
        if (c == '\r') {
            if (bytes.peek() == '\n') { continue; }
            c = '\n';
        }
        require(c != 0, [&] { return at(place) + ": a NUL byte: this is no text"; });
        text += char(c);
        require(text.size() <= longest_row, [&] {
            return at(place) + ": a document of more than " + std::to_string(longest_row >> 20)
                   + " MiB: cut the file with --split-on TEXT";
        });
        if (!split_on.empty() && text.back() == split_on.back() && text.ends_with(split_on)) {
            text.resize(text.size() - split_on.size());
            end_document();
        }
    }
    end_document();
}

}  // namespace graft::detail::dataset
