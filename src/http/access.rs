//! **Access**: who may ask for what (contract section 7).
//!
//! The promise: a page of somebody else's, open in a browser of this network, can neither read
//! nor change anything here, whatever names its DNS gives to us.
//!
//! | asked | refused with |
//! | --- | --- |
//! | does the client come from an allowed address? | 403 `forbidden_address` |
//! | does `Host` name this machine? (DNS rebinding) | 403 `forbidden_host` |
//! | to change something: is it JSON? (no form can send that) | 415 `unsupported_media_type` |
//! | … is the `Origin`, where one is sent, our own page or a configured host? | 403 `forbidden_origin` |
//! | … where a token is set: does it come along? | 401 `unauthorized` |
//!
//! The first two are asked of every request, before its body is read ([`Gate`]); the others of
//! those that change something, once it is known that there is something to change
//! ([`Access::admit_change`]): a method that a path does not know is told so, whatever it sends.
//!
//! The token is sent as `Authorization: Bearer TOKEN` or, where a proxy wants that header for
//! itself, as `X-Shelfcast-Token: TOKEN`. CORS headers are never sent, so no other origin can ask
//! for more than a plain form could.
//!
//! A request without any `Host` passes: only HTTP/1.0 allows it, no browser sends it, and a server
//! answers HTTP/1.1 without one by 400 (RFC 9112 section 3.2) before it comes here.

mod host;
mod interfaces;

use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use log::warn;

use super::request::{ApiError, Gate, Request};
use crate::config::{AccessConfig, Allow};
use crate::logging::Limited;
use crate::metrics::{Collect, Counter, Page};
use host::{Authority, Host, Origin};
use interfaces::Subnet;

/// How old the list of our own subnets may be: a DHCP lease or a cable changes them. Reading it
/// takes some microseconds, and only clients with public addresses need it.
const SUBNETS_LAST: Duration = Duration::from_secs(5);

/// Admits or refuses requests by their head. Any thread may ask; nothing is waited for.
#[derive(Debug)]
pub struct Access {
    rules: RwLock<Arc<Rules>>,
    subnets: Mutex<Option<(Instant, Vec<Subnet>)>>,
    refusals: Arc<Refusals>,
}

/// The configuration, in the form in which it is compared.
#[derive(Debug)]
struct Rules {
    allow: Vec<Allow>,
    hosts: Vec<Host>,
    /// The hash of the token: comparing hashes takes the same time whatever is sent.
    token: Option<blake3::Hash>,
}

/// How many requests were refused, by reason.
#[derive(Debug, Default)]
pub struct Refusals {
    /// The client's address is not allowed.
    pub address: Counter,
    /// `Host` names another machine, or none.
    pub host: Counter,
    /// A change from a page of another origin.
    pub origin: Counter,
    /// A change that is not JSON.
    pub media_type: Counter,
    /// A change without the token, or with a wrong one.
    pub token: Counter,
}

impl Access {
    /// Returns the gate that `config` describes.
    #[must_use]
    pub fn new(config: &AccessConfig) -> Access {
        Access {
            rules: RwLock::new(Arc::new(Rules::new(config))),
            subnets: Mutex::new(None),
            refusals: Arc::default(),
        }
    }

    /// Goes by `config` from the next request on.
    pub fn reload(&self, config: &AccessConfig) {
        let rules = Arc::new(Rules::new(config));
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = rules;
    }

    /// Returns the counters of refused requests.
    #[must_use]
    pub fn refusals(&self) -> Arc<Refusals> {
        Arc::clone(&self.refusals)
    }

    /// Decides on a request that changes something, after [`Gate::admit`] has let it in: JSON,
    /// from our own page, with the token where one is set.
    ///
    /// # Errors
    /// The refusal to send in place of an answer.
    pub fn admit_change(&self, request: &Request) -> Result<(), ApiError> {
        let refused = self.check_change(request);
        refused.map_err(|refusal| self.refuse(refusal, request))
    }

    fn check(&self, request: &Request) -> Result<(), Refusal> {
        let rules = self.rules();
        let peer = request.peer.to_canonical();
        let is_own = |address| self.is_own_subnet(address, Instant::now());
        if !rules.allow.iter().any(|allow| allows(*allow, peer, is_own)) {
            return Err(Refusal::Address);
        }
        server(request, &rules).map(|_| ())
    }

    fn check_change(&self, request: &Request) -> Result<(), Refusal> {
        let rules = self.rules();
        let server = server(request, &rules)?;
        if !request.header("content-type").is_some_and(is_json) {
            return Err(Refusal::MediaType);
        }
        if !may_change(request, server.as_ref(), &rules) {
            return Err(Refusal::Origin);
        }
        if let Some(token) = rules.token
            && !sent_tokens(request).any(|sent| blake3::hash(sent.as_bytes()) == token)
        {
            return Err(Refusal::Token);
        }
        Ok(())
    }

    fn rules(&self) -> Arc<Rules> {
        let rules = self.rules.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&rules)
    }

    fn refuse(&self, refusal: Refusal, request: &Request) -> ApiError {
        refusal.count(&self.refusals);
        refusal.log(request);
        refusal.answer(request)
    }

    fn is_own_subnet(&self, address: IpAddr, now: Instant) -> bool {
        let mut subnets = self.subnets.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = |at: &Instant| now.saturating_duration_since(*at) < SUBNETS_LAST;
        let (_, list) = match subnets.take().filter(|(at, _)| fresh(at)) {
            Some(known) => subnets.insert(known),
            None => subnets.insert((now, interfaces::subnets())),
        };
        list.iter().any(|subnet| subnet.contains(address))
    }
}

impl Gate for Access {
    fn admit(&self, request: &Request) -> Result<(), ApiError> {
        self.check(request)
            .map_err(|refusal| self.refuse(refusal, request))
    }
}

impl Collect for Refusals {
    fn collect(&self, page: &mut Page) {
        page.counters(
            "shelfcast_access_refused_total",
            "Requests refused by the rules of [access], by what was wrong.",
            "reason",
            &[
                ("address", self.address.get()),
                ("host", self.host.get()),
                ("media_type", self.media_type.get()),
                ("origin", self.origin.get()),
                ("token", self.token.get()),
            ],
        );
    }
}

impl Rules {
    fn new(config: &AccessConfig) -> Rules {
        let hosts = config.hosts.iter();
        Rules {
            allow: config.allow.clone(),
            hosts: hosts.filter_map(|host| Host::configured(host)).collect(),
            token: config
                .token
                .as_ref()
                .map(|token| blake3::hash(token.as_bytes())),
        }
    }
}

fn allows(allow: Allow, peer: IpAddr, is_own: impl Fn(IpAddr) -> bool) -> bool {
    match allow {
        Allow::Any => true,
        Allow::Lan => is_local(peer) || is_own(peer),
        Allow::Block { address, prefix } => Subnet { address, prefix }.contains(peer),
    }
}

/// Tells whether an address cannot come from the internet, whatever networks we are in: loopback,
/// private (RFC 1918), link-local, unique-local (RFC 4193).
fn is_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_private() || v4.is_link_local(),
        IpAddr::V6(v6) => {
            v6 == Ipv6Addr::LOCALHOST || v6.is_unique_local() || v6.is_unicast_link_local()
        }
    }
}

/// Returns what `Host` says, if it names this machine; nothing where HTTP/1.0 sent none.
fn server(request: &Request, rules: &Rules) -> Result<Option<Authority>, Refusal> {
    let mut headers = values(request, "host");
    let Some(text) = headers.next() else {
        return Ok(None);
    };
    if headers.next().is_some() {
        return Err(Refusal::Host); // which of them a proxy believes is its secret
    }
    let server = Authority::parse(text).ok_or(Refusal::Host)?;
    let known = match &server.host {
        // Only a name can be made to point to us by somebody else's DNS.
        Host::Address(_) => true,
        name => name.is_own(&own_name()) || rules.hosts.contains(name),
    };
    match known {
        true => Ok(Some(server)),
        false => Err(Refusal::Host),
    }
}

/// Reads the machine's name each time: a system call is cheaper than to know when it changed.
fn own_name() -> String {
    let system = rustix::system::uname();
    system.nodename().to_string_lossy().into_owned()
}

fn may_change(request: &Request, server: Option<&Authority>, rules: &Rules) -> bool {
    values(request, "origin").all(|text| {
        Origin::parse(text).is_some_and(|origin| {
            rules.hosts.contains(&origin.host) || server.is_some_and(|own| origin.is_same(own))
        })
    })
}

fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default();
    essence.trim().eq_ignore_ascii_case("application/json")
}

fn sent_tokens(request: &Request) -> impl Iterator<Item = &str> {
    let bearer = values(request, "authorization").filter_map(|value| {
        let (scheme, token) = value.trim().split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    });
    bearer.chain(values(request, "x-shelfcast-token").map(str::trim))
}

fn values<'r>(request: &'r Request, name: &'static str) -> impl Iterator<Item = &'r str> {
    let named = request.headers.iter().filter(move |(key, _)| key == name);
    named.map(|(_, value)| value.as_str())
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    Address,
    Host,
    Origin,
    MediaType,
    Token,
}

impl Refusal {
    fn count(self, refusals: &Refusals) {
        let counter = match self {
            Refusal::Address => &refusals.address,
            Refusal::Host => &refusals.host,
            Refusal::Origin => &refusals.origin,
            Refusal::MediaType => &refusals.media_type,
            Refusal::Token => &refusals.token,
        };
        counter.increment();
    }

    /// Says so at most once a minute for each reason, so that a flood of one hides no other.
    fn log(self, request: &Request) {
        static LIMITS: [Limited; 5] = [const { Limited::once_a_minute() }; 5];
        let (limit, name) = match self {
            Refusal::Address => (&LIMITS[0], "host"),
            Refusal::Host => (&LIMITS[1], "host"),
            Refusal::Origin => (&LIMITS[2], "origin"),
            Refusal::MediaType => (&LIMITS[3], "content-type"),
            Refusal::Token => (&LIMITS[4], "origin"),
        };
        if let Some(left_out) = limit.pass() {
            let peer = request.peer.to_canonical();
            let sent = request.header(name).map(excerpt);
            let code = self.answer(request).code;
            warn!("request refused code={code} peer={peer} {name}={sent:?} left_out={left_out}");
        }
    }

    fn answer(self, request: &Request) -> ApiError {
        match self {
            Refusal::Address => ApiError::new(
                403,
                "forbidden_address",
                format!(
                    "{} is not of this network: add it to `allow` in [access] of shelfcast.toml",
                    request.peer.to_canonical()
                ),
            ),
            Refusal::Host => ApiError::new(
                403,
                "forbidden_host",
                format!(
                    "this machine is not known as {:?}: use its address, or add the name to \
                     `hosts` in [access] of shelfcast.toml",
                    excerpt(request.header("host").unwrap_or_default())
                ),
            ),
            Refusal::Origin => ApiError::new(
                403,
                "forbidden_origin",
                format!(
                    "a page of {:?} may change nothing here: add its host to `hosts` in [access] \
                     of shelfcast.toml",
                    excerpt(request.header("origin").unwrap_or_default())
                ),
            ),
            Refusal::MediaType => ApiError::new(
                415,
                "unsupported_media_type",
                "what changes something needs `Content-Type: application/json`",
            ),
            Refusal::Token => ApiError::new(
                401,
                "unauthorized",
                "this needs the token of the configuration: `Authorization: Bearer TOKEN`",
            ),
        }
    }
}

/// Keeps what a client sent from making a line of the log as long as it likes.
fn excerpt(text: &str) -> &str {
    let end = text
        .char_indices()
        .nth(100)
        .map_or(text.len(), |(at, _)| at);
    &text[..end]
}

#[cfg(test)]
mod tests;
