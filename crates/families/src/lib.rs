#![doc = include_str!("../README.md")]
//!
//! # Modules
//!
//! [`family`] is the interface, [`ALL`] is where a family is registered. Each family is one directory; so far there is [`chat`],
//! OpenAI's chat completions. The other modules are shared by all families.

pub mod answer;
pub mod api_error;
pub mod chat;
mod error_object;
pub mod estimate;
pub mod event;
pub mod excerpt;
pub mod family;
pub mod fault;
mod json;
pub mod media;
pub mod prompt;
pub mod refusal;
pub mod request;
pub mod usage;
mod wording;

use family::Family;

/// Every family. A new one is registered only here.
pub static ALL: &[&dyn Family] = &[&chat::Chat];

/// The family that writes answers which belong to no family, such as 404 for an unknown path.
pub static DEFAULT: &dyn Family = &chat::Chat;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn families_share_no_name_and_their_endpoints_no_path_and_no_label() {
        let endpoints = || ALL.iter().flat_map(|family| family.endpoints());
        let names: HashSet<_> = ALL.iter().map(|family| family.name()).collect();
        let paths: HashSet<_> = endpoints().map(|endpoint| endpoint.path).collect();
        let labels: HashSet<_> = endpoints().map(|endpoint| endpoint.label).collect();
        assert_eq!((names.len(), paths.len(), labels.len()), (ALL.len(), endpoints().count(), endpoints().count()));
    }

    #[test]
    fn each_path_can_stand_in_the_head_of_a_request() {
        let endpoints = ALL.iter().flat_map(|family| family.endpoints()).map(|endpoint| endpoint.path);
        for path in endpoints.chain(ALL.iter().map(|family| family.upstream_path())) {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/_-".contains(&byte);
            assert!(path.starts_with('/') && path.bytes().all(plain), "{path}");
        }
    }
}
