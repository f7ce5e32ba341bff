//! A host in its one normal form.
//!
//! Two texts that a browser would take to one place have one [`Host`]: letter case, the dot at the end, the port, and
//! letters beyond ASCII, which become A-labels (UTS 46; RFC 5891). INVARIANT: parsing the normal form gives itself.

use std::{
    borrow::Cow,
    fmt,
    net::{Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};

/// The longest name in DNS, without the dot at its end (RFC 1035, section 2.3.4).
const LONGEST: usize = 253;
/// The longest label.
const LONGEST_LABEL: usize = 63;
/// More than any name that could be mapped to one of [`LONGEST`]: what is longer is not even looked at.
const ABSURD: usize = 1024;

/// A host: a name in ASCII and lower case, or an address. Without port, userinfo, or a dot at the end.
///
/// ```
/// use formwork_tenancy::Host;
///
/// let host: Host = "Bücher.Example.:8080".parse()?;
/// assert_eq!(host.as_str(), "xn--bcher-kva.example");
/// assert_eq!("[::0:1]:80".parse::<Host>()?.as_str(), "[::1]");
/// assert!("user@example.com".parse::<Host>().is_err());
/// # Ok::<(), formwork_tenancy::InvalidHost>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Host {
    text: String,
    is_name: bool,
}

/// The same, as it was read: borrowed where the text was in normal form already.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ReadHost<'a> {
    text: Cow<'a, str>,
    is_name: bool,
}

/// A text that is no host. It does not repeat the text, which is a stranger's and may be long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct InvalidHost {
    why: &'static str,
}

impl InvalidHost {
    pub(crate) const fn new(why: &'static str) -> Self {
        Self { why }
    }
}

impl Host {
    /// The normal form.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Is it a name, rather than an address?
    pub fn is_name(&self) -> bool {
        self.is_name
    }

    /// What stands before `.base`, when it is a name below `base`.
    pub(crate) fn below(&self, base: &Host) -> Option<&str> {
        below(&self.text, base)
    }
}

impl FromStr for Host {
    type Err = InvalidHost;

    /// Takes a port and drops it; refuses userinfo, paths, and everything that no host has.
    fn from_str(text: &str) -> Result<Self, InvalidHost> {
        ReadHost::read(text).map(ReadHost::into_owned)
    }
}

fn below<'a>(host: &'a str, base: &Host) -> Option<&'a str> {
    host.strip_suffix(base.as_str())?.strip_suffix('.')
}

impl<'a> ReadHost<'a> {
    pub(super) fn read(text: &'a str) -> Result<Self, InvalidHost> {
        if text.len() > ABSURD {
            return Err(InvalidHost::new("the host is too long"));
        }
        match text.strip_prefix('[') {
            Some(rest) => {
                let (address, port) = rest.split_once(']').ok_or(InvalidHost::new("a `]` is missing"))?;
                check_port(port)?;
                let address: Ipv6Addr = address
                    .parse()
                    .map_err(|_| InvalidHost::new("what stands in `[]` is no IPv6 address"))?;
                Ok(Self { text: Cow::Owned(format!("[{address}]")), is_name: false })
            }
            None => {
                let at = text.find(':').unwrap_or(text.len());
                let (name, port) = text.split_at(at);
                check_port(port)?;
                Self::name(name)
            }
        }
    }

    fn name(text: &'a str) -> Result<Self, InvalidHost> {
        let name = text.strip_suffix('.').unwrap_or(text);
        if name.is_empty() {
            return Err(InvalidHost::new("a host is missing"));
        }
        let text = to_ascii(name)?;
        match last_label_is_a_number(&text) {
            false => Ok(Self { text, is_name: true }),
            // What ends in a number is an address or nothing, whatever other programs make of `0x7f.1` (WHATWG URL,
            // "ends in a number").
            true => match text.parse::<Ipv4Addr>() {
                Ok(address) => Ok(Self { text: Cow::Owned(address.to_string()), is_name: false }),
                Err(_) => Err(InvalidHost::new("the host ends in a number and is no IPv4 address")),
            },
        }
    }

    pub(super) fn into_owned(self) -> Host {
        Host { text: self.text.into_owned(), is_name: self.is_name }
    }

    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    pub(super) fn is_name(&self) -> bool {
        self.is_name
    }

    /// Is it this one? The text says as well whether it is a name.
    pub(super) fn is(&self, host: &Host) -> bool {
        *self.text == *host.text
    }

    /// What stands before `.base`, when it is a name below `base`.
    pub(super) fn below(&self, base: &Host) -> Option<&str> {
        below(&self.text, base)
    }
}

impl fmt::Display for ReadHost<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Nothing, or a colon and at most five digits.
fn check_port(text: &str) -> Result<(), InvalidHost> {
    let digits = text.strip_prefix(':').unwrap_or(text);
    let is_port = digits.len() <= 5 && digits.bytes().all(|byte| byte.is_ascii_digit());
    if is_port && (text.is_empty() || text.starts_with(':')) {
        Ok(())
    } else {
        Err(InvalidHost::new("what follows the host is no port"))
    }
}

fn last_label_is_a_number(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or_default();
    let hexadecimal = last.strip_prefix("0x").is_some_and(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()));
    hexadecimal || last.bytes().all(|byte| byte.is_ascii_digit())
}

/// A-labels, in lower case. Plain names, which nearly all are, need no table.
fn to_ascii(name: &str) -> Result<Cow<'_, str>, InvalidHost> {
    match plain(name) {
        Some(true) => return Ok(Cow::Borrowed(name)),
        Some(false) => return Ok(Cow::Owned(name.to_ascii_lowercase())),
        None => {}
    }
    let mapped =
        Uts46::new().to_ascii(name.as_bytes(), AsciiDenyList::STD3, Hyphens::Allow, DnsLength::Verify);
    let mapped = mapped.map_err(|_| InvalidHost::new("the host is no name that DNS can have"))?;
    // A-labels hold two hyphens themselves, so the ends are all that can be asked of all.
    match mapped.split('.').all(is_label) && mapped.len() <= LONGEST {
        true => Ok(mapped),
        false => Err(InvalidHost::new("the host is no name that DNS can have")),
    }
}

/// Labels of ASCII alone, none of them encoded: is it in lower case already?
fn plain(name: &str) -> Option<bool> {
    let encoded = |label: &str| label.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("xn--"));
    let (mut is_lower, mut has_two_hyphens) = (true, false);
    // Of the label so far. Every request comes through here, so it is gone over once.
    let (mut length, mut last) = (0, b'-');
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' => length += 1,
            b'A'..=b'Z' => (is_lower, length) = (false, length + 1),
            b'-' if length > 0 => {
                has_two_hyphens |= last == b'-';
                length += 1;
            }
            b'.' if ends_label(length, last) => length = 0,
            _ => return None,
        }
        last = byte;
    }
    let is_plain = name.len() <= LONGEST && ends_label(length, last);
    (is_plain && !(has_two_hyphens && name.split('.').any(encoded))).then_some(is_lower)
}

fn ends_label(length: usize, last: u8) -> bool {
    (1..=LONGEST_LABEL).contains(&length) && last != b'-'
}

/// Letters, digits and inner hyphens (RFC 1123, section 2.1).
fn is_label(label: &str) -> bool {
    (1..=LONGEST_LABEL).contains(&label.len())
        && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && !label.starts_with('-')
        && !label.ends_with('-')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn normal(text: &str) -> Option<String> {
        text.parse::<Host>().ok().map(|host| host.text)
    }

    #[test]
    fn hosts_have_one_form() {
        for (given, expected) in [
            ("ACME.Example.com:8080", "acme.example.com"),
            ("acme.example.com.", "acme.example.com"),
            ("acme.example.com.:443", "acme.example.com"),
            ("acme.example.com:", "acme.example.com"),
            ("localhost", "localhost"),
            ("[::1]:80", "[::1]"),
            ("[0:0:0:0:0:0:0:1]", "[::1]"),
            ("127.0.0.1:80", "127.0.0.1"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("BÜCHER.example", "xn--bcher-kva.example"),
            ("XN--BCHER-KVA.example", "xn--bcher-kva.example"),
            ("acme。example。com", "acme.example.com"),
            ("ＡＣＭＥ.example.com", "acme.example.com"),
            ("faß.example", "xn--fa-hia.example"),
            // Cyrillic: another name than the one that it looks like.
            ("аcme.example", "xn--cme-5cd.example"),
        ] {
            assert_eq!(normal(given).as_deref(), Some(expected), "{given}");
        }
    }

    #[test]
    fn what_is_no_host_is_refused() {
        let long_label = format!("{}.example", "a".repeat(64));
        let long = format!("{}example", "a.".repeat(124));
        let absurd = "a.".repeat(100_000);
        for given in [
            "",
            ".",
            "..",
            ":80",
            "a..b",
            ".example.com",
            "-a.example",
            "a-.example",
            "a b",
            "a_b.example",
            "a/b",
            "user@example.com",
            "user:pass@example.com",
            "example.com:http",
            "example.com:123456",
            "example.com:80:80",
            "[::1",
            "[::1]x",
            "[::1%25eth0]",
            "[example.com]",
            "::1",
            "1.2.3",
            "256.1.1.1",
            "0x7f.1",
            "2130706433",
            "01.02.03.04",
            "a.0x7f",
            "%61.example",
            "*.example.com",
            "xn--.example",
            "xn--a.example",
            "a\0b",
            "a\u{200d}b.example",
            "\u{202e}.example",
            &long_label,
            &long,
            &absurd,
        ] {
            assert_eq!(normal(given), None, "{:?}", given.get(..40).unwrap_or(given));
        }
    }

    #[test]
    fn a_host_in_normal_form_is_read_where_it_stands() {
        for text in ["acme.example.com", "acme.example.com.:8080", "a--b.example", "xn--bcher-kva.example"] {
            assert!(matches!(ReadHost::read(text).unwrap().text, Cow::Borrowed(_)), "{text}");
        }
        assert!(matches!(ReadHost::read("Acme.example.com").unwrap().text, Cow::Owned(_)));
    }

    proptest! {
        #[test]
        fn no_text_panics_and_the_form_is_its_own(text in "\\PC{0,300}") {
            if let Ok(host) = text.parse::<Host>() {
                prop_assert_eq!(host.as_str().parse::<Host>(), Ok(host.clone()));
                prop_assert!(host.as_str().is_ascii());
            }
        }

        #[test]
        fn what_nearly_is_a_host_has_one_form(
            labels in prop::collection::vec("[a-zA-Z0-9äößаｅ。xn-]{0,8}|xn--[a-z0-9-]{0,12}|[0-9]{1,4}|0x[0-9a-f]{0,3}", 0..6),
            end in "\\.?(:[0-9]{0,6})?",
        ) {
            let text = labels.join(".") + &end;
            if let Ok(host) = text.parse::<Host>() {
                prop_assert_eq!(host.as_str().parse::<Host>(), Ok(host.clone()));
                let shouted = text.to_ascii_uppercase().parse::<Host>();
                prop_assert_eq!(shouted, Ok(host.clone()));
                prop_assert!(host.as_str().len() <= LONGEST);
                let labels = host.as_str().split('.').all(is_label);
                prop_assert!(labels && host.is_name() || !host.is_name());
            }
        }
    }
}
