//! The faults of an upstream, as a closed set of names.

use std::ffi::OsStr;
use std::fmt;

use clap::builder::{EnumValueParser, PossibleValue, TypedValueParser};
use clap::{Arg, Command, ValueEnum};
use serde::de::{self, Deserialize, Deserializer};

/// A string in every error body, error event and vendor header of the demo upstream. A gateway must never pass it on.
pub const CANARY: &str = "canary-7f3e9d-must-not-leave-the-gateway";

/// A fake key of a provider. Error bodies contain it, as those of some providers do.
pub const FAKE_KEY: &str = "sk-demo-0000000000000000-not-a-key";

/// One fault. `at` is the knob of the same name: the number of events before the fault.
///
/// A response without `stream` is one document: a fault after `at` events breaks it off in its middle (or before it, if `at`
/// is 0), and a fault of the event format has no effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum Fault {
    /// 400 with a JSON error
    #[value(name = "status_400")]
    Status400,
    /// 401 with a JSON error that repeats the key
    #[value(name = "status_401")]
    Status401,
    /// 403 with a JSON error
    #[value(name = "status_403")]
    Status403,
    /// 404 with a JSON error: no such model
    #[value(name = "status_404")]
    Status404,
    /// 408 with a JSON error
    #[value(name = "status_408")]
    Status408,
    /// 429 with `retry-after: 7`
    #[value(name = "status_429")]
    Status429,
    /// 500 with a JSON error
    #[value(name = "status_500")]
    Status500,
    /// 503 with `retry-after: 7`
    #[value(name = "status_503")]
    Status503,
    /// 529, the status of an overloaded provider
    #[value(name = "status_529")]
    Status529,
    /// 307 to another loopback port
    Redirect,
    /// 200 with a page of text/html
    Html,
    /// 101: switches to a protocol that was not requested
    SwitchProtocols,
    /// Reads the request and never answers
    Silent,
    /// 200 and the head, then nothing
    HeadersThenSilent,
    /// RST before the first byte
    ResetBefore,
    /// RST right after the head
    ResetAfterHead,
    /// RST after `at` events
    ResetAfterEvents,
    /// FIN in the middle of the event after `at` events, the chunked body unfinished
    DisconnectMidEvent,
    /// The chunked body ends well after `at` events, without `[DONE]`
    CleanEofWithoutDone,
    /// The chunked body ends well before any event
    EofNoEvents,
    /// content-length exceeds the body: FIN after `at` events
    ShortLength,
    /// A chunk size that is no number, after `at` events
    BadChunk,
    /// Chunk extensions on every chunk (legal, RFC 9112 section 7.1.1)
    ChunkExtensions,
    /// HTTP/1.0: no chunks, the body ends with the connection
    Http10,
    /// Compressed with gzip, although identity was requested
    Gzip,
    /// After `at` events one line that never ends
    EndlessLine,
    /// After `at` events endless data lines without a blank line
    EndlessEvent,
    /// After `at` events endless comment lines
    EndlessComments,
    /// After `at` events a comment ten times a second, without end
    NeverFinish,
    /// A data: {"error":…} event after `at` events, then a clean end without `[DONE]`
    ErrorEvent,
    /// The same after the role chunk, before any output
    ErrorEventBeforeOutput,
    /// Every byte in a chunk and a write of its own
    SlowDrip,
    /// Every event cut at random places (by seed), each piece in a chunk and a write of its own
    SplitEverywhere,
    /// CRLF line ends
    Crlf,
    /// CR line ends
    Cr,
    /// A byte order mark before the first event
    Bom,
    /// Bare `:` comments until the first token, as llama.cpp sends them
    Comments,
    /// The role chunk at once, the first output after the first-token time
    RoleDelay,
    /// No usage, although it was requested
    NoUsage,
    /// "usage": null in every chunk, and never a count
    UsageNullEverywhere,
    /// Bytes that are no event after `[DONE]`
    TrailingGarbageAfterDone,
    /// One more valid chunk after `[DONE]`
    ExtraAfterDone,
    /// text/event-stream; charset=utf-8
    ContentTypeWithCharset,
    /// No content-type
    NoContentType,
    /// content-type, cache-control and x-request-id twice each
    DuplicateHeaders,
    /// 500 headers
    ManyHeaders,
    /// One header of 512 KiB
    HugeHeader,
    /// Its own access-control-* (one of them empty), set-cookie, server, vary and vendor headers
    CorsHeaders,
    /// 103 Early Hints before the answer
    Informational,
    /// Usage in the choice, as Moonshot sends it
    UsageInChoice,
    /// Usage in `x_groq`, as Groq sends it
    UsageXGroq,
    /// Reasoning tokens beside the completion tokens, only in the total, as xAI and Gemini count them
    UsageBesideReasoning,
    /// Usage with tokens that were written into the prompt cache, as OpenRouter sends it
    UsageCacheWrite,
    /// Usage together with timings, citations and the provider
    UsageWithMore,
    /// No usage, but llama.cpp's timings
    UsageTimings,
    /// 422 if the request has `stream_options`, as strict servers answer
    RefusesStreamOptions,
    /// A chunk with the finish reason `error` after `at` events, then `[DONE]`
    FinishError,
    /// The same after the role chunk, before any output
    FinishErrorBeforeOutput,
    /// The finish reason `content_filter`
    FinishContentFilter,
    /// 200 with a JSON error about the rate limit and `retry-after: 42.6`, also to a stream
    JsonRateLimit,
    /// 200 with a JSON error about the context length, also to a stream
    JsonContextLength,
    /// 200 with a list of JSON errors, also to a stream
    JsonErrorList,
    /// The whole answer as JSON, also to a stream
    JsonCompletion,
    /// An event stream, also without `stream`
    StreamToWhole,
    /// Blank lines before the JSON of a whole answer, as DeepSeek sends them
    JsonAfterBlanks,
    /// 400 with a list of errors about the API key, as Gemini answers
    InvalidKeyList,
    /// 400 with Anthropic's sentence about a long prompt
    PromptTooLong,
    /// 400 with Anthropic's sentence about the credit balance
    NoCredit,
    /// 429 with `retry-after: 42.6`
    RetryAfterFraction,
    /// 429 with `retry-after-ms: 42600`
    RetryAfterMs,
    /// The first output is a picture of 2.6 MB in `delta.images`
    LargeImage,
    /// NaN and Infinity in logprobs, as Python writes them
    NanLogprobs,
    /// Reports of the prompt's progress before the first output, as llama.cpp sends them
    Progress,
    /// Two parallel tool calls, both with index 0
    CallsWithIndex0,
    /// content-encoding: none
    ContentEncodingNone,
    /// charset=utf8 in the content type
    CharsetUtf8,
    /// A space before the colon of a header
    SpaceBeforeColon,
    /// transfer-encoding: identity, and the body ends with the connection
    TransferIdentity,
}

impl Fault {
    /// The status of a fault that is a status.
    pub fn status(self) -> Option<u16> {
        Some(match self {
            Fault::Status400 => 400,
            Fault::Status401 => 401,
            Fault::Status403 => 403,
            Fault::Status404 => 404,
            Fault::Status408 => 408,
            Fault::Status429 => 429,
            Fault::Status500 => 500,
            Fault::Status503 => 503,
            Fault::Status529 => 529,
            _ => return None,
        })
    }
}

/// The parser of a fault's name on the command line. Hyphens are as good as underscores.
#[derive(Debug, Clone)]
pub(super) struct FaultParser;

impl TypedValueParser for FaultParser {
    type Value = Fault;

    fn parse_ref(&self, command: &Command, arg: Option<&Arg>, value: &OsStr) -> Result<Fault, clap::Error> {
        let name = value.to_string_lossy().replace('-', "_");
        EnumValueParser::<Fault>::new().parse_ref(command, arg, OsStr::new(&name))
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(Fault::value_variants().iter().filter_map(ValueEnum::to_possible_value)))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // no variant is skipped, so every one has a name
        self.to_possible_value().map_or(Ok(()), |value| f.write_str(value.get_name()))
    }
}

impl<'de> Deserialize<'de> for Fault {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Fault::from_str(&name.replace('-', "_"), false)
            .map_err(|_| de::Error::custom("unknown fault; `tokenway demo-upstream --help` lists them all"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_parsed_from_its_name_and_has_a_help_text() {
        for fault in Fault::value_variants() {
            let name = serde_json::to_string(&fault.to_string()).unwrap();
            assert_eq!(serde_json::from_str::<Fault>(&name).unwrap(), *fault);
            assert!(fault.to_possible_value().unwrap().get_help().is_some(), "{fault} has no help");
        }
    }

    #[test]
    fn names_of_statuses_are_their_numbers() {
        for fault in Fault::value_variants() {
            assert_eq!(
                fault.to_string().strip_prefix("status_"),
                fault.status().map(|status| status.to_string()).as_deref()
            );
        }
    }
}
