//! A tenant's slug in the path: `/t/<slug>/..`.
//!
//! INVARIANT: the slug that is read here is the one that every other program reads. So nothing is decoded, and a path that
//! another program might shorten (`..`, plain or encoded) is refused, or it could name one tenant to us and another one
//! to a proxy.

/// What a path says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum PathSays<'a> {
    /// It does not stand below the prefix.
    Nothing,
    /// A slug, or what should be one; and the rest, which begins with a slash.
    Slug { slug: &'a str, rest: &'a str },
    /// It could be read in two ways.
    Ambiguous,
}

/// `prefix` has a slash at its beginning and none at its end; it may be empty.
pub(super) fn read<'a>(path: &'a str, prefix: &str) -> PathSays<'a> {
    let below = path.strip_prefix(prefix).and_then(|below| below.strip_prefix('/'));
    let Some(below) = below.filter(|below| !below.is_empty()) else { return PathSays::Nothing };
    if may_be_shortened(path) {
        return PathSays::Ambiguous;
    }
    match below.find('/') {
        Some(at) => {
            let (slug, rest) = below.split_at(at);
            PathSays::Slug { slug, rest }
        }
        None => PathSays::Slug { slug: below, rest: "/" },
    }
}

/// Does a segment go up, or stay, once it has been decoded?
fn may_be_shortened(path: &str) -> bool {
    if !path.contains('.') && !path.contains('%') {
        return false;
    }
    let decoded = path.to_ascii_lowercase().replace("%2e", ".").replace("%2f", "/").replace("%5c", "\\");
    // `%252e` is decoded twice by some.
    let twice = decoded.replace("%25", "%").replace("%2e", ".").replace("%2f", "/").replace("%5c", "\\");
    [decoded, twice].iter().any(|path| path.split(['/', '\\']).any(|segment| matches!(segment, "." | "..")))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_slug_and_the_rest_are_read() {
        let slug = |slug, rest| PathSays::Slug { slug, rest };
        for (path, says) in [
            ("/t/acme/projects/7", slug("acme", "/projects/7")),
            ("/t/acme/", slug("acme", "/")),
            ("/t/acme", slug("acme", "/")),
            ("/t/acme//x", slug("acme", "//x")),
            ("/t//acme", slug("", "/acme")),
            ("/t/%61cme/x", slug("%61cme", "/x")),
            ("/t/acme/v1.2/a.b", slug("acme", "/v1.2/a.b")),
            ("/t", PathSays::Nothing),
            ("/t/", PathSays::Nothing),
            ("/tea/acme", PathSays::Nothing),
            ("//t/acme", PathSays::Nothing),
            ("/T/acme", PathSays::Nothing),
            ("*", PathSays::Nothing),
            ("", PathSays::Nothing),
            ("/t/acme/../bolt/x", PathSays::Ambiguous),
            ("/t/acme/%2E%2e/bolt", PathSays::Ambiguous),
            ("/t/acme/.%2e%2fbolt", PathSays::Ambiguous),
            ("/t/acme/x\\..\\..\\bolt", PathSays::Ambiguous),
            ("/t/acme/%252e%252e/bolt", PathSays::Ambiguous),
            ("/t/./acme", PathSays::Ambiguous),
        ] {
            assert_eq!(read(path, "/t"), says, "{path}");
        }
        assert_eq!(read("/acme/x", ""), slug("acme", "/x"));
    }

    proptest! {
        #[test]
        fn nothing_of_a_path_is_lost(path in "(/t)?(/[a-z.%25eEfF\\\\-]{0,6}){0,5}") {
            if let PathSays::Slug { slug, rest } = read(&path, "/t") {
                prop_assert!(rest.starts_with('/'));
                let whole = format!("/t/{slug}{rest}");
                prop_assert!(whole == path || whole == format!("{path}/"), "{} of {}", whole, path);
                prop_assert!(!slug.contains('/'));
            }
        }
    }
}
