//! What a client is told: the fields `RateLimit-Policy` and `RateLimit` of draft-ietf-httpapi-ratelimit-headers (its
//! form since draft 8), and `Retry-After` (RFC 9110, section 10.2.3).

use std::{fmt::Write as _, time::Duration};

use super::{Standing, Verdict};

impl Verdict {
    /// Names and values of the answer's header fields; none when the call had no limit.
    ///
    /// ```
    /// use formwork_tenancy::{TenantId, limits::{Call, Limit, MemoryLimiter}};
    ///
    /// let call = Call::of_tenant(TenantId::generate()).overall(Limit::per_minute(60).burst(5));
    /// let headers = MemoryLimiter::new().check(&call).headers();
    /// assert_eq!(headers[0], ("ratelimit-policy", r#""tenant";q=5;w=5"#.to_owned()));
    /// assert_eq!(headers[1], ("ratelimit", r#""tenant";r=4;t=1"#.to_owned()));
    /// ```
    pub fn headers(&self) -> Vec<(&'static str, String)> {
        let (mut policy, mut state) = (String::new(), String::new());
        let standings = self.standings();
        for (index, standing) in standings.iter().enumerate() {
            let (comma, name) = (if index == 0 { "" } else { ", " }, name(standings, index));
            let (limit, reset) = (standing.limit(), seconds(standing.reset()));
            let (quota, window) = (limit.most_at_once(), seconds(limit.refill()));
            // A String takes whatever is written.
            let _ = write!(policy, "{comma}\"{name}\";q={quota};w={window}");
            let _ = write!(state, "{comma}\"{name}\";r={};t={reset}", standing.remaining());
        }
        let mut headers = Vec::with_capacity(3);
        if !standings.is_empty() {
            headers.extend([("ratelimit-policy", policy), ("ratelimit", state)]);
        }
        if let Self::Refused(refused) = self
            && let Some(wait) = refused.retry_after()
        {
            headers.push(("retry-after", seconds(wait).to_string()));
        }
        headers
    }
}

/// The scope, and from the second limit of one scope on, its number.
fn name(standings: &[Standing], index: usize) -> String {
    let scope = standings.get(index).map_or("", |standing| standing.scope().as_str());
    let before = standings.iter().take(index).filter(|other| other.scope().as_str() == scope).count();
    match before {
        0 => scope.to_owned(),
        before => format!("{scope}-{}", before + 1),
    }
}

/// Whole seconds, rounded up.
pub(super) fn seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}
