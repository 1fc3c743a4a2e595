//! Tokenway
fn main() {}
