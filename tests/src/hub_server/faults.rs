//! Fault plans: which faults happen to which requests, reproducible from a seed. `inject.rs` and
//! `files.rs` carry the faults out.

use std::time::Duration;

use super::rng::SeededRng;

/// A fault of one response.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    /// The connection is reset; some bytes before this offset may be lost as well.
    Reset(BodyOffset),
    /// The connection is closed normally before `Content-Length` bytes were sent.
    Truncate(BodyOffset),
    /// Sending stops at this offset; the connection is reset after the pause.
    Stall(BodyOffset, Duration),
    /// Only the response's head is sent; otherwise as [`Fault::Stall`].
    HeadersOnly(Duration),
    /// Nothing is sent, and the connection is closed after the pause.
    Silence(Duration),
    /// The first `slow_bytes` are sent in pieces of `piece_bytes` with a pause after each.
    Drip {
        /// The size of a piece.
        piece_bytes: u64,
        /// The pause after each piece.
        pause: Duration,
        /// The number of bytes that are sent slowly; the rest is sent at once.
        slow_bytes: u64,
    },
    /// More bytes than requested.
    TooLong {
        /// The number of bytes after the end of the range.
        extra_bytes: u64,
        /// Whether `Content-Range` states the longer range instead of the requested one.
        is_stated: bool,
    },
    /// `Content-Length: 0` and no bytes.
    EmptyBody,
    /// One bit of the body is flipped.
    FlipBit(BodyOffset),
    /// The file's `ETag` changes permanently, so that `If-Range` with the old one gets the whole
    /// file.
    NewEtag {
        /// Whether the content changes too; it then no longer matches its SHA-256.
        other_bytes: bool,
    },
    /// The whole file with status 200, although a range was requested.
    IgnoreRange,
    /// `Content-Range` does not match the body.
    WrongRange(RangeLie),
    /// A response with this status, as the hub or the CDN formats it; 404 is `EntryNotFound`.
    Status(u16),
    /// 429 with `Retry-After` and `RateLimit`.
    TooManyRequests {
        /// The wait, in seconds.
        retry_after_s: u64,
    },
    /// 429 with the wait, in seconds, in this header only.
    RateLimited(WaitHeader, u64),
    /// A redirect without `Location`.
    NoLocation,
    /// An HTML page with status 200, as captive portals send it.
    Portal,
    /// 403 with `GatedRepo` and this reason, in the body only.
    GatedBecause(&'static str),
    /// Two URLs that redirect to each other.
    RedirectLoop,
    /// A redirect to a port where nothing listens.
    RedirectToNowhere,
    /// All signed URLs so far expire: 403 until `resolve` is requested again.
    ExpireUrls,
    /// 401 or 403 with `GatedRepo`.
    Gated(u16),
    /// Bytes that are not HTTP.
    Garbage,
}

/// An offset in the body of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyOffset {
    /// A random offset from the plan's seed, before the body's end.
    Random,
    /// After this many bytes.
    After(u64),
}

/// The header in which a server states how long to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitHeader {
    /// `RateLimit: "resolvers";r=0;t=280`.
    RateLimit,
    /// `Retry-After` as a date.
    Date,
    /// `X-RateLimit-Remaining` and `X-RateLimit-Reset`.
    XRateLimit,
}

/// The error in `Content-Range`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RangeLie {
    /// Both ends are off by one.
    Offset,
    /// The file's length is off by one.
    Total,
    /// The header is absent.
    Absent,
}

/// The requests that a rule applies to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// `/api/…` except small files.
    Api,
    /// `/{owner}/{name}/resolve/…`.
    Resolve,
    /// Requests for file content: the CDN, and the hub's cache of small files.
    Bytes,
    /// All requests.
    Any,
}

/// A rule for when a fault happens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FaultRule {
    /// The fault.
    pub fault: Fault,
    /// The requests that it applies to. Only requests for which the fault is possible are counted:
    /// a `HEAD` has no body to truncate, and only a request with `Range` has a range to ignore.
    pub target: Target,
    /// The number of requests to skip first.
    pub skip: u64,
    /// The probability for each request after those.
    pub probability: f64,
    /// The maximum number of times; `None` for no limit.
    pub at_most: Option<u64>,
}

impl FaultRule {
    /// `fault` hits the first request to `target`.
    pub fn once(target: Target, fault: Fault) -> Self {
        Self { fault, target, skip: 0, probability: 1.0, at_most: Some(1) }
    }

    /// `fault` hits every request to `target`.
    pub fn always(target: Target, fault: Fault) -> Self {
        Self { at_most: None, ..Self::once(target, fault) }
    }

    /// Skips the first `skip` requests.
    #[must_use]
    pub fn after(self, skip: u64) -> Self {
        Self { skip, ..self }
    }

    /// Limits how often the fault happens.
    #[must_use]
    pub fn times(self, at_most: u64) -> Self {
        Self { at_most: Some(at_most), ..self }
    }

    /// Sets the probability for each request.
    #[must_use]
    pub fn with_probability(self, probability: f64) -> Self {
        Self { probability, ..self }
    }

    /// Whether the rule can make a download fail for good.
    fn may_fail(&self) -> bool {
        let is_final = matches!(
            self.fault,
            Fault::Gated(_)
                | Fault::GatedBecause(_)
                | Fault::RedirectLoop
                | Fault::NoLocation
                | Fault::Portal
                | Fault::WrongRange(RangeLie::Absent)
                | Fault::NewEtag { other_bytes: true }
                | Fault::Status(400 | 401 | 403 | 404 | 410)
        );
        let is_harmless = matches!(
            self.fault,
            Fault::Drip { .. } | Fault::IgnoreRange | Fault::NewEtag { other_bytes: false }
        );
        is_final || (self.at_most.is_none() && !is_harmless)
    }
}

/// A list of fault rules. The first rule that applies to a request decides.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FaultPlan {
    /// The seed for probabilities and offsets.
    pub seed: u64,
    /// The rules, in order.
    pub rules: Vec<FaultRule>,
}

impl FaultPlan {
    /// A plan without faults.
    pub fn none() -> Self {
        Self::default()
    }

    /// A plan of these rules.
    pub fn new(seed: u64, rules: impl IntoIterator<Item = FaultRule>) -> Self {
        Self { seed, rules: rules.into_iter().collect() }
    }

    /// A random plan: one to six transient faults, and with probability 0.2 a permanent one.
    pub fn random(seed: u64) -> Self {
        let mut rng = SeededRng::new(seed);
        let mut rules: Vec<_> = (0..=rng.below(5)).map(|_| passing_rule(&mut rng)).collect();
        if rng.chance(0.2) {
            let position = rng.below(rules.len() as u64 + 1) as usize;
            rules.insert(position, lasting_rule(&mut rng));
        }
        Self { seed, rules }
    }

    /// Whether a download may end with a clear error. If false, it must end with the right file.
    pub fn may_fail(&self) -> bool {
        self.rules.iter().any(FaultRule::may_fail)
    }

    /// The maximum number of faults; `None` if there is no limit.
    pub fn most_faults(&self) -> Option<u64> {
        self.rules.iter().map(|rule| rule.at_most).sum()
    }
}

fn passing_rule(rng: &mut SeededRng) -> FaultRule {
    let pause = Duration::from_millis(300 + rng.below(1200));
    let extra_bytes = 1 + rng.below(1 << 16);
    let retry_after_s = rng.below(2);
    let (target, fault) = rng.pick(&[
        (Target::Bytes, Fault::Reset(BodyOffset::Random)),
        (Target::Bytes, Fault::Truncate(BodyOffset::Random)),
        (Target::Bytes, Fault::Stall(BodyOffset::Random, pause)),
        (Target::Bytes, Fault::HeadersOnly(pause)),
        (Target::Bytes, Fault::EmptyBody),
        (Target::Bytes, Fault::FlipBit(BodyOffset::Random)),
        (Target::Bytes, Fault::NewEtag { other_bytes: false }),
        (Target::Bytes, Fault::IgnoreRange),
        (Target::Bytes, Fault::WrongRange(RangeLie::Offset)),
        (Target::Bytes, Fault::WrongRange(RangeLie::Total)),
        (Target::Bytes, Fault::TooLong { extra_bytes, is_stated: true }),
        (Target::Bytes, Fault::TooLong { extra_bytes, is_stated: false }),
        (Target::Bytes, Fault::ExpireUrls),
        (Target::Bytes, Fault::Drip { piece_bytes: 1000, pause: pause / 50, slow_bytes: 20_000 }),
        (Target::Any, Fault::Silence(pause)),
        (Target::Any, Fault::Garbage),
        (Target::Any, Fault::Status(500)),
        (Target::Any, Fault::Status(502)),
        (Target::Any, Fault::Status(503)),
        (Target::Any, Fault::TooManyRequests { retry_after_s }),
        (Target::Resolve, Fault::Silence(pause)),
        (Target::Resolve, Fault::RedirectToNowhere),
    ]);
    FaultRule {
        fault,
        target,
        skip: rng.below(6),
        probability: rng.pick(&[1.0, 1.0, 0.5]),
        at_most: Some(1 + rng.below(2)),
    }
}

fn lasting_rule(rng: &mut SeededRng) -> FaultRule {
    let (target, fault) = rng.pick(&[
        (Target::Bytes, Fault::FlipBit(BodyOffset::Random)),
        (Target::Bytes, Fault::NewEtag { other_bytes: true }),
        (Target::Bytes, Fault::Status(404)),
        (Target::Bytes, Fault::Status(500)),
        (Target::Resolve, Fault::Status(404)),
        (Target::Resolve, Fault::Status(503)),
        (Target::Resolve, Fault::Gated(401)),
        (Target::Resolve, Fault::Gated(403)),
        (Target::Resolve, Fault::RedirectLoop),
    ]);
    FaultRule::always(target, fault).after(rng.below(3))
}

/// The properties of a request that rules depend on.
#[derive(Clone, Copy, Debug)]
pub(super) struct RequestFacts {
    pub(super) target: Target,
    pub(super) is_head: bool,
    pub(super) has_range: bool,
    /// Whether the request goes to the CDN, the only server with signed URLs.
    pub(super) is_cdn: bool,
}

/// A fault to inject into a response, with its own random numbers.
#[derive(Clone, Debug)]
pub(super) struct Injected {
    pub(super) fault: Fault,
    rng: SeededRng,
}

impl Injected {
    /// The fault's offset in a body of this length.
    pub(super) fn offset(&self, offset: BodyOffset, body_bytes: u64) -> u64 {
        match offset {
            BodyOffset::Random => self.rng.clone().below(body_bytes),
            BodyOffset::After(bytes) => bytes,
        }
    }
}

/// A plan and its progress.
#[derive(Debug, Default)]
pub(super) struct RunningPlan {
    plan: FaultPlan,
    progress: Vec<Progress>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    seen: u64,
    happened: u64,
}

impl RunningPlan {
    pub(super) fn new(plan: FaultPlan) -> Self {
        let progress = vec![Progress::default(); plan.rules.len()];
        Self { plan, progress }
    }

    /// The fault for this request, if any.
    pub(super) fn next(&mut self, asked: RequestFacts) -> Option<Injected> {
        for (index, (rule, progress)) in self.plan.rules.iter().zip(&mut self.progress).enumerate()
        {
            if !can_happen(rule, asked) {
                continue;
            }
            progress.seen += 1;
            let is_used_up = rule.at_most.is_some_and(|most| progress.happened >= most);
            if progress.seen <= rule.skip || is_used_up {
                continue;
            }
            // A request's random numbers depend only on its index in its rule, so that concurrent
            // requests of other rules do not change them.
            let request_id = (index as u64) << 32 | progress.seen;
            let mut rng = SeededRng::new(SeededRng::new(self.plan.seed ^ request_id).next_u64());
            if rng.chance(rule.probability) {
                progress.happened += 1;
                return Some(Injected { fault: rule.fault, rng });
            }
        }
        None
    }
}

fn can_happen(rule: &FaultRule, asked: RequestFacts) -> bool {
    if rule.target != Target::Any && rule.target != asked.target {
        return false;
    }
    let is_get = !asked.is_head;
    match rule.fault {
        Fault::IgnoreRange | Fault::WrongRange(_) => {
            is_get && asked.has_range && asked.target == Target::Bytes
        }
        Fault::TooLong { .. } | Fault::FlipBit(_) | Fault::NewEtag { .. } => {
            is_get && asked.target == Target::Bytes
        }
        Fault::ExpireUrls => asked.is_cdn,
        Fault::Reset(_)
        | Fault::Truncate(_)
        | Fault::Stall(..)
        | Fault::HeadersOnly(_)
        | Fault::Drip { .. }
        | Fault::EmptyBody => is_get,
        Fault::Silence(_)
        | Fault::Status(_)
        | Fault::TooManyRequests { .. }
        | Fault::RateLimited(..)
        | Fault::NoLocation
        | Fault::Portal
        | Fault::RedirectLoop
        | Fault::RedirectToNowhere
        | Fault::Gated(_)
        | Fault::GatedBecause(_)
        | Fault::Garbage => true,
    }
}
