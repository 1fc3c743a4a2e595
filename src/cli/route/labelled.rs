//! The labelled prompts, `prompts.toml`.

use serde::Deserialize;

use families::estimate;
use families::excerpt::Excerpt;
use families::prompt::Prompt;
use tokenway::routing::verdict::Verdict;

const FILE: &str = include_str!("prompts.toml");

/// One prompt and its label.
#[derive(Debug)]
pub(super) struct Labelled {
    pub(super) label: Verdict,
    /// The kind of the request.
    pub(super) kind: String,
    /// The rules were tuned with it; otherwise it was held out.
    pub(super) tuning: bool,
    pub(super) prompt: Prompt,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    groups: Vec<Group>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    label: Label,
    kind: String,
    #[serde(default)]
    turns: u64,
    #[serde(default)]
    tools: bool,
    #[serde(default)]
    images: bool,
    prompts: Vec<String>,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum Label {
    Easy,
    Hard,
}

/// Returns all labelled prompts.
///
/// # Errors
/// The file is malformed: a defect of this program.
pub(super) fn all() -> Result<Vec<Labelled>, toml::de::Error> {
    let File { groups } = toml::from_str(FILE)?;
    Ok(groups.into_iter().flat_map(Group::labelled).collect())
}

impl Group {
    fn labelled(self) -> impl Iterator<Item = Labelled> {
        let Self { label, kind, turns, tools, images, prompts } = self;
        let label = match label {
            Label::Easy => Verdict::Easy,
            Label::Hard => Verdict::Hard,
        };
        prompts.into_iter().enumerate().map(move |(place, text)| Labelled {
            label,
            kind: kind.clone(),
            tuning: place % 2 == 0,
            prompt: Prompt {
                text: Excerpt::of(text.trim(), text.len(), 0),
                earlier: turns,
                tokens: estimate::prompt_tokens(text.len() as u64, 1 + 2 * turns),
                answer: 0,
                tools,
                images,
            },
        })
    }
}
