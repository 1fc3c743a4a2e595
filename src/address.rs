//! IP addresses as text. Pure.

use std::net::IpAddr;

/// Appends the text of an address, as `Display` writes it. `Display` takes ten times as long for IPv4, and each request
/// needs it.
pub fn push(text: &mut String, address: IpAddr) {
    match address {
        IpAddr::V4(address) => {
            for (place, octet) in address.octets().into_iter().enumerate() {
                if place > 0 {
                    text.push('.');
                }
                text.push_str(itoa::Buffer::new().format(octet));
            }
        }
        IpAddr::V6(address) => text.push_str(&address.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_text_is_that_of_display(address: IpAddr) {
            let mut text = String::from("addr:");
            push(&mut text, address);
            prop_assert_eq!(text, format!("addr:{address}"));
        }
    }
}
