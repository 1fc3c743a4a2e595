//! The prices of a configuration only: files, variables and certificates are not read.

use settings::{Problems, document};

use super::file::File;
use crate::models::settings::Written;
use crate::price::Prices;

/// A model that has a price.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Priced {
    /// The model's name for clients.
    pub name: String,
    /// The prices of its tokens.
    pub prices: Prices,
}

/// Returns the models that have prices, in the order of the file.
///
/// # Errors
/// The parts of the text that cannot be read.
pub fn price_list(text: &str) -> Result<Vec<Priced>, Problems> {
    let mut problems = Problems::default();
    let file: Option<File> = document(text, &mut problems);
    let Some(file) = file.filter(|_| problems.0.is_empty()) else {
        problems.sort();
        return Err(problems);
    };
    let priced = |model: &Written| {
        let (input, output) = (model.input_price.value?, model.output_price.value?);
        let prices = Prices {
            input,
            cached_input: model.cached_input_price.value.unwrap_or(input),
            cache_write: model.cache_write_price.value.unwrap_or(input),
            output,
            reasoning: model.reasoning_price.value.unwrap_or(output),
        };
        Some(Priced { name: model.name.value.0.clone(), prices })
    };
    Ok(file.models.value.iter().filter_map(priced).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_has_five_prices_and_needs_no_secret_for_them() {
        let list = price_list(include_str!("../../tokenway.toml")).unwrap();
        let names: Vec<&str> = list.iter().map(|model| model.name.as_str()).collect();
        assert_eq!(names, ["deepseek-v4-flash", "deepseek-v4-pro", "qwen3-32b", "glm-4-plus", "gpt-4o"]);
        assert_eq!(list[3].prices.input.to_string(), "0.20");
        assert!(price_list("[[models]]\nname = 5").is_err());
    }
}
