//! The token counts of a completion, wherever an upstream writes them. Pure.
//!
//! OpenAI's place is `usage`. Groq also writes `x_groq.usage`, Moonshot writes `choices[0].usage`, llama.cpp writes `timings`
//! if nobody asks for usage. If several places have a count, the largest one is used: they are counts of the same completion.
//! Counts that cannot be true are returned as well: the reader of the usage knows how many tokens the request can have used.

use crate::json::cursor::{Cursor, NotJson, Value};
use crate::usage::Usage;

/// The counts as the upstream writes them; `None` where it writes none.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counts {
    prompt: Option<u64>,
    completion: Option<u64>,
    total: Option<u64>,
    cached: Option<u64>,
    cache_write: Option<u64>,
    reasoning: Option<u64>,
    /// The prompt and the completion of llama.cpp's `timings`.
    timings: Option<(u64, u64)>,
}

impl Counts {
    /// Returns the usage, or `None` if there is no count.
    ///
    /// The output is `total − prompt` if that is more than the completion: xAI and Gemini count reasoning beside the
    /// completion, and only the total includes it.
    pub(super) fn usage(&self) -> Option<Usage> {
        let all = [self.prompt, self.completion, self.cached, self.cache_write, self.reasoning];
        if all.iter().all(Option::is_none) {
            let (prompt, completion) = self.timings?;
            return Some(Usage { prompt, completion, ..Usage::default() });
        }
        let rest = self.prompt.zip(self.total).map_or(0, |(prompt, total)| total.saturating_sub(prompt));
        Some(Usage {
            prompt: self.prompt.unwrap_or_default(),
            completion: self.completion.unwrap_or_default().max(rest),
            cached: self.cached.unwrap_or_default(),
            cache_write: self.cache_write.unwrap_or_default(),
            reasoning: self.reasoning.unwrap_or_default(),
        })
    }

    /// Reads the value of a `usage` member.
    pub(super) fn read_usage(&mut self, cursor: &mut Cursor<'_>) -> Result<(), NotJson> {
        let Some(mut members) = cursor.object_or_skip()? else { return Ok(()) };
        while let Some(name) = members.next(cursor)? {
            match &*name {
                "prompt_tokens_details" | "completion_tokens_details" => self.read_details(cursor)?,
                name => match self.place(name) {
                    Some(place) => raise(place, cursor.value()?),
                    None => drop(cursor.value()?),
                },
            }
        }
        Ok(())
    }

    /// Reads an object that has a `usage` member.
    pub(super) fn read_within(&mut self, cursor: &mut Cursor<'_>) -> Result<(), NotJson> {
        let Some(mut members) = cursor.object_or_skip()? else { return Ok(()) };
        while let Some(name) = members.next(cursor)? {
            match &*name {
                "usage" => self.read_usage(cursor)?,
                _ => drop(cursor.value()?),
            }
        }
        Ok(())
    }

    /// Reads the value of a top-level `cached_tokens`.
    pub(super) fn read_cached(&mut self, cursor: &mut Cursor<'_>) -> Result<(), NotJson> {
        raise(&mut self.cached, cursor.value()?);
        Ok(())
    }

    /// Reads the value of llama.cpp's `timings`, and returns it. `prompt_n` leaves out the tokens in the server's cache, so it
    /// counts only together with `cache_n`.
    pub(super) fn read_timings<'a>(&mut self, cursor: &mut Cursor<'a>) -> Result<Value<'a>, NotJson> {
        let start = cursor.position();
        let Some(mut members) = cursor.object_or_skip()? else { return Ok(cursor.since(start)) };
        let (mut prompt, mut cached, mut completion) = (None, None, None);
        while let Some(name) = members.next(cursor)? {
            let value = cursor.value()?;
            match &*name {
                "prompt_n" => raise(&mut prompt, value),
                "cache_n" => raise(&mut cached, value),
                "predicted_n" => raise(&mut completion, value),
                _ => {}
            }
        }
        self.timings = prompt
            .zip(cached)
            .zip(completion)
            .map(|((new, cached), completion)| (u64::saturating_add(new, cached), completion));
        Ok(cursor.since(start))
    }

    fn read_details(&mut self, cursor: &mut Cursor<'_>) -> Result<(), NotJson> {
        let Some(mut members) = cursor.object_or_skip()? else { return Ok(()) };
        while let Some(name) = members.next(cursor)? {
            let value = cursor.value()?;
            match &*name {
                "cached_tokens" => raise(&mut self.cached, value),
                // OpenRouter
                "cache_write_tokens" => raise(&mut self.cache_write, value),
                "reasoning_tokens" => raise(&mut self.reasoning, value),
                _ => {}
            }
        }
        Ok(())
    }

    /// Returns the count that a member of `usage` has.
    fn place(&mut self, name: &str) -> Option<&mut Option<u64>> {
        Some(match name {
            // the second name is the one of the responses family, which some gateways also use here
            "prompt_tokens" | "input_tokens" => &mut self.prompt,
            "completion_tokens" | "output_tokens" => &mut self.completion,
            "total_tokens" => &mut self.total,
            // DeepSeek; Moonshot; Anthropic's name, in the usage of gateways
            "prompt_cache_hit_tokens" | "cached_tokens" | "cache_read_input_tokens" => &mut self.cached,
            "cache_write_tokens" | "cache_creation_input_tokens" => &mut self.cache_write,
            "reasoning_tokens" => &mut self.reasoning,
            _ => return None,
        })
    }
}

/// Raises a count to this value, if it is a whole number that can be believed.
fn raise(count: &mut Option<u64>, value: Value<'_>) {
    let number = value.text;
    // some servers write 12.0
    if let Ok(number) = number.strip_suffix(".0").unwrap_or(number).parse() {
        *count = (*count).max(Some(number));
    }
}
