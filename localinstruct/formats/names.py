"""Names that people give to the keys of a row, in lower case, the most frequent first."""

CONVERSATIONS = (
    "messages",
    "conversations",
    "conversation",
    "dialog",
    "dialogue",
    "turns",
    "chat",
    "contents",
    "items",
    "data",
)
"""Keys under which a list of turns may stand."""
TASKS = (
    "instruction",
    "prompt",
    "question",
    "query",
    "problem",
    "task",
    "inputs",
    "user",
    "human",
    "q",
)
INPUTS = ("input", "context")
ANSWERS = (
    "output",
    "response",
    "completion",
    "generation",
    "solution",
    "answer",
    "target",
    "targets",
    "assistant",
    "gpt",
    "bot",
    "reply",
    "model_output",
    "a",
)
LISTED = ("generations", "completions", "responses", "answers", "outputs")
"""Keys of several answers for one prompt: a row for each."""
SYSTEMS = (
    "system",
    "system_prompt",
    "system_message",
    "system_instruction",
    "systeminstruction",
    "systemprompt",
    "sys",
)
TOOLS = ("tools", "functions")
