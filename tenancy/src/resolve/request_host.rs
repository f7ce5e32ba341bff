//! The host of a request, which every program on its way must read alike (RFC 9112, section 3.2): one header, and the
//! same host in the target when that names one. What could be read in two ways is refused.

use http::{HeaderMap, HeaderName, header::HOST, request::Parts};

use super::{
    host::{Host, InvalidHost, ReadHost},
    source::TrustedProxy,
};

const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

impl Host {
    /// The host that a request names in its target, its `Host` header or in both; none when in neither. What a proxy
    /// has forwarded is not looked at.
    ///
    /// ```
    /// use formwork_tenancy::Host;
    ///
    /// let request = http::Request::get("/").header("host", "ACME.example.com:8080").body(())?;
    /// let (parts, ()) = request.into_parts();
    /// assert_eq!(Host::of(&parts)?.unwrap().as_str(), "acme.example.com");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// When there are several hosts, or one that cannot be read. HTTP 400.
    pub fn of(parts: &Parts) -> Result<Option<Self>, InvalidHost> {
        Ok(ReadHost::of(parts)?.map(ReadHost::into_owned))
    }
}

impl<'a> ReadHost<'a> {
    /// As [`Host::of`].
    pub(super) fn of(parts: &'a Parts) -> Result<Option<Self>, InvalidHost> {
        let target = parts.uri.authority().map(|authority| Self::read(authority.as_str())).transpose()?;
        let header = only(&parts.headers, &HOST, "the request has several `Host` headers")?;
        match (target, header) {
            (None, None | Some("")) => Ok(None),
            (Some(target), None) => Ok(Some(target)),
            (None, Some(header)) => Self::read(header).map(Some),
            (Some(target), Some(header)) if Self::read(header).as_ref() == Ok(&target) => Ok(Some(target)),
            (Some(_), Some(_)) => {
                Err(InvalidHost::new("the `Host` header names another host than the target"))
            }
        }
    }

    /// The host that a proxy of our own says it was called by; without such a word, the request's.
    pub(super) fn forwarded(parts: &'a Parts) -> Result<Option<Self>, InvalidHost> {
        if parts.extensions.get::<TrustedProxy>().is_some() {
            let several = "the request has several `X-Forwarded-Host` headers";
            // A list in one header is no host either: its comma is refused.
            if let Some(forwarded) = only(&parts.headers, &FORWARDED_HOST, several)? {
                return Self::read(forwarded).map(Some);
            }
        }
        Self::of(parts)
    }

    /// Does somebody claim to be a proxy who was not said to be one?
    pub(super) fn is_forwarded_by_a_stranger(parts: &Parts) -> bool {
        parts.headers.contains_key(FORWARDED_HOST) && parts.extensions.get::<TrustedProxy>().is_none()
    }
}

/// The value of a header that may stand there once.
fn only<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
    several: &'static str,
) -> Result<Option<&'a str>, InvalidHost> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => {
            let text = value.to_str().map_err(|_| InvalidHost::new("the host is not written in ASCII"))?;
            Ok(Some(text))
        }
        (Some(_), Some(_)) => Err(InvalidHost::new(several)),
    }
}
