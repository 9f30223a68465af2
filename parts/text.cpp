#include "graft/text/chat_template.ipp"
#include "graft/text/end_of_turn.ipp"
#include "graft/text/named_templates.ipp"
#include "graft/text/span.ipp"
