//! Reads the messages of a request: an array of objects with a role each, and content of a known type. Pure.

use super::shape::{Shape, missing};
use super::{media, text};
use crate::json::check::{Checker, Defect};
use crate::json::{Kind, Path, fold};
use crate::media::Media;

use Kind::{Array, Null, Object, String};

/// The members of a message that have text, and its role.
const MEMBERS: &[&str] = &["role", "content", "name", "tool_calls", "function_call", "refusal", "reasoning_content"];

/// A summary of the messages.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Messages {
    /// The number of messages.
    pub(super) count: u64,
    /// UTF-8 bytes of their text.
    pub(super) text_bytes: u64,
    /// Their images, audio and files.
    pub(super) media: Media,
    /// The first mistake in them: the sentence for the client.
    pub(super) wrong: Option<std::string::String>,
}

impl Messages {
    /// Reads the messages, which are the next value. After a mistake, the rest is checked as JSON only.
    ///
    /// # Errors
    /// The defect in the JSON.
    pub(super) fn read(checker: &mut Checker<'_>, path: &Path<'_>) -> Result<Self, Defect> {
        let mut messages = Self::default();
        if checker.kind()? != Array {
            let value = checker.value(path)?;
            messages.expect(Shape::OneOf(&[Array]), path, value.text);
            return Ok(messages);
        }
        checker.array(path, |checker, path| {
            messages.count += 1;
            messages.read_message(checker, path)
        })?;
        if messages.count == 0 {
            messages.wrong = Some(format!("{path}: expected at least one message, found an empty array"));
        }
        Ok(messages)
    }

    fn read_message(&mut self, checker: &mut Checker<'_>, path: &Path<'_>) -> Result<(), Defect> {
        if checker.kind()? != Object {
            let value = checker.value(path)?;
            self.expect(Shape::OneOf(&[Object]), path, value.text);
            return Ok(());
        }
        let mut has_role = false;
        checker.object(path, |checker, path, name| {
            if let (Some(known), None) = (fold::known_in_other_case(name, MEMBERS), &self.wrong) {
                self.wrong = Some(fold::refusal(path, known));
            }
            match name {
                "content" => return self.read_content(checker, path),
                "role" => {
                    has_role = true;
                    self.expect(Shape::OneOf(&[String]), path, checker.value(path)?.text);
                }
                // an earlier answer, which the model hears again
                "audio" => self.media.audio(checker.value(path)?.text.len()),
                "name" | "tool_calls" | "function_call" | "refusal" | "reasoning_content" => {
                    self.text_bytes += text::measure(checker.value(path)?.text).bytes;
                }
                _ => drop(checker.value(path)?),
            }
            Ok(())
        })?;
        if !has_role && self.wrong.is_none() {
            self.wrong = Some(missing(&Path::Member(path, "role"), "a string"));
        }
        Ok(())
    }

    fn read_content(&mut self, checker: &mut Checker<'_>, path: &Path<'_>) -> Result<(), Defect> {
        let content = match checker.kind()? {
            Array => checker.array(path, |checker, path| {
                let part = checker.value(path)?.text;
                self.expect(Shape::OneOf(&[Object]), path, part);
                media::count(part, &mut self.media);
                Ok(())
            })?,
            _ => checker.value(path)?,
        };
        self.expect(Shape::OneOf(&[String, Array, Null]), path, content.text);
        self.text_bytes += text::measure(content.text).bytes;
        Ok(())
    }

    fn expect(&mut self, shape: Shape, path: &Path<'_>, value: &str) {
        if self.wrong.is_none() {
            self.wrong = shape.check(path, value).err();
        }
    }
}
