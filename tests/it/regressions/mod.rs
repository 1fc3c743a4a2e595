//! What a review found and was mended: one test a finding, so that it stays mended.

mod accounts;
mod draining;
mod hangup;
mod requests;
mod upgrades;
mod upstream;

const OUTPUT: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\n\n";
const FINISH: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
const DONE: &str = "data: [DONE]\n\n";
