//! OpenAI's chat completion format, read without any I/O.
