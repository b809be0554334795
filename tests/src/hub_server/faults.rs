//! What can go wrong, when, and how often: a plan that one seed decides. How a fault is carried out
//! is `inject.rs`'s and `files.rs`'s business.

use std::time::Duration;

use super::draw::Draw;

/// One thing that goes wrong with one response. Where it says a place, that is a number of bytes of
/// the response's body.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    /// The connection is reset; some bytes before the place may be lost as well.
    Reset(Place),
    /// The connection is closed properly although `Content-Length` announced more.
    Truncate(Place),
    /// Nothing more comes; the connection is reset after the pause.
    Stall(Place, Duration),
    /// The head of the response comes, and nothing more; as [`Fault::Stall`].
    HeadersOnly(Duration),
    /// Nothing comes at all, and the connection is closed after the pause.
    Silence(Duration),
    /// The first `slow_bytes` come in pieces of `piece_bytes` with a pause after each.
    Drip {
        /// How large a piece is.
        piece_bytes: u64,
        /// How long nothing comes after a piece.
        pause: Duration,
        /// How many bytes come slowly; the rest comes at once.
        slow_bytes: u64,
    },
    /// More bytes than asked for. `Content-Range` says so, or claims that it is what was asked for.
    TooLong {
        /// How many bytes are too many; they go on where the range ends.
        extra_bytes: u64,
        /// Whether `Content-Range` is honest.
        is_stated: bool,
    },
    /// `Content-Length: 0` and no bytes, whatever was asked for.
    EmptyBody,
    /// One bit of the body is wrong.
    FlipBit(Place),
    /// The file has another `ETag` from now on, so that `If-Range` with the old one gets all of it.
    /// With `other_bytes` it also has another content, which does not fit its SHA-256.
    NewEtag {
        /// Whether the content is another one, too.
        other_bytes: bool,
    },
    /// All of the file with status 200, although a range was asked for.
    IgnoreRange,
    /// `Content-Range` does not say what the body is.
    WrongRange(RangeLie),
    /// An answer with this status, as the hub or the CDN would word it; 404 is `EntryNotFound`.
    Status(u16),
    /// 429 with both ways of saying for how long to wait.
    TooManyRequests {
        /// How long to wait.
        retry_after_s: u64,
    },
    /// 429 that says only in this way for how long to wait.
    RateLimited(WaitHeader, u64),
    /// A redirect without `Location`.
    NoLocation,
    /// A web page for people with status 200, as networks with a sign-in page send it.
    Portal,
    /// 403 with `GatedRepo` and this reason, in the body alone.
    GatedBecause(&'static str),
    /// A redirect that leads from one address to another and back.
    RedirectLoop,
    /// A redirect to a port where nothing listens.
    RedirectToNowhere,
    /// Every signed address that was given out so far has expired: 403 until resolve is asked again.
    ExpireUrls,
    /// 401 or 403 with `GatedRepo`.
    Gated(u16),
    /// Bytes that are not HTTP.
    Garbage,
}

/// A place in the body of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Somewhere that follows from the plan's seed, before the body's end.
    Anywhere,
    /// After this many bytes.
    After(u64),
}

/// How a server says for how long to wait, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitHeader {
    /// `RateLimit: "resolvers";r=0;t=280`.
    RateLimit,
    /// `Retry-After` as a date.
    Date,
    /// `X-RateLimit-Remaining` and `X-RateLimit-Reset`.
    XRateLimit,
}

/// What `Content-Range` is wrong about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RangeLie {
    /// Both ends are off by one.
    Offset,
    /// The file's length is off by one.
    Total,
    /// It is not there.
    Absent,
}

/// Which requests a rule looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// `/api/…` except small files.
    Api,
    /// `/{owner}/{name}/resolve/…`.
    Resolve,
    /// Where a file's bytes come from: the CDN, and the hub's cache of small files.
    Bytes,
    /// All of them.
    Any,
}

/// When a fault happens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FaultRule {
    /// What happens.
    pub fault: Fault,
    /// To which requests. Of those, only the ones to which it can happen count: a `HEAD` has no body
    /// to truncate, a request without `Range` none to ignore.
    pub target: Target,
    /// How many of those are let through before.
    pub skip: u64,
    /// How likely it is for each of those after.
    pub probability: f64,
    /// How often it happens; `None` is for ever.
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

    /// Lets `skip` requests through before.
    #[must_use]
    pub fn after(self, skip: u64) -> Self {
        Self { skip, ..self }
    }

    /// Happens so often.
    #[must_use]
    pub fn times(self, at_most: u64) -> Self {
        Self { at_most: Some(at_most), ..self }
    }

    /// Happens with this probability, while it may.
    #[must_use]
    pub fn with_probability(self, probability: f64) -> Self {
        Self { probability, ..self }
    }

    /// Whether a file may never come because of it.
    fn is_hopeless(&self) -> bool {
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

/// Which faults happen when. The rules are asked in order, and the first that applies is followed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FaultPlan {
    /// Decides about probabilities and places.
    pub seed: u64,
    /// What happens when.
    pub rules: Vec<FaultRule>,
}

impl FaultPlan {
    /// Everything works.
    pub fn none() -> Self {
        Self::default()
    }

    /// A plan of these rules.
    pub fn new(seed: u64, rules: impl IntoIterator<Item = FaultRule>) -> Self {
        Self { seed, rules: rules.into_iter().collect() }
    }

    /// One to six kinds of fault that pass, and in one plan out of five one that does not.
    pub fn random(seed: u64) -> Self {
        let mut draw = Draw::new(seed);
        let mut rules: Vec<_> = (0..=draw.below(5)).map(|_| passing_rule(&mut draw)).collect();
        if draw.chance(0.2) {
            let place = draw.below(rules.len() as u64 + 1) as usize;
            rules.insert(place, lasting_rule(&mut draw));
        }
        Self { seed, rules }
    }

    /// Whether a clear error is a right end as well as the file. Where this is false, nothing but
    /// the right file is.
    pub fn is_hopeless(&self) -> bool {
        self.rules.iter().any(FaultRule::is_hopeless)
    }

    /// How many faults there can be at most; `None` where there is no limit.
    pub fn most_faults(&self) -> Option<u64> {
        self.rules.iter().map(|rule| rule.at_most).sum()
    }
}

fn passing_rule(draw: &mut Draw) -> FaultRule {
    let pause = Duration::from_millis(300 + draw.below(1200));
    let extra_bytes = 1 + draw.below(1 << 16);
    let retry_after_s = draw.below(2);
    let (target, fault) = draw.pick(&[
        (Target::Bytes, Fault::Reset(Place::Anywhere)),
        (Target::Bytes, Fault::Truncate(Place::Anywhere)),
        (Target::Bytes, Fault::Stall(Place::Anywhere, pause)),
        (Target::Bytes, Fault::HeadersOnly(pause)),
        (Target::Bytes, Fault::EmptyBody),
        (Target::Bytes, Fault::FlipBit(Place::Anywhere)),
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
        skip: draw.below(6),
        probability: draw.pick(&[1.0, 1.0, 0.5]),
        at_most: Some(1 + draw.below(2)),
    }
}

fn lasting_rule(draw: &mut Draw) -> FaultRule {
    let (target, fault) = draw.pick(&[
        (Target::Bytes, Fault::FlipBit(Place::Anywhere)),
        (Target::Bytes, Fault::NewEtag { other_bytes: true }),
        (Target::Bytes, Fault::Status(404)),
        (Target::Bytes, Fault::Status(500)),
        (Target::Resolve, Fault::Status(404)),
        (Target::Resolve, Fault::Status(503)),
        (Target::Resolve, Fault::Gated(401)),
        (Target::Resolve, Fault::Gated(403)),
        (Target::Resolve, Fault::RedirectLoop),
    ]);
    FaultRule::always(target, fault).after(draw.below(3))
}

/// What matters of a request to a plan.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) target: Target,
    pub(super) is_head: bool,
    pub(super) has_range: bool,
    /// The CDN alone knows signed addresses.
    pub(super) is_cdn: bool,
}

/// A fault that is to happen, with its own random numbers.
#[derive(Clone, Debug)]
pub(super) struct Injected {
    pub(super) fault: Fault,
    draw: Draw,
}

impl Injected {
    /// Where in a body of this length the fault is.
    pub(super) fn offset(&self, place: Place, body_bytes: u64) -> u64 {
        match place {
            Place::Anywhere => self.draw.clone().below(body_bytes),
            Place::After(bytes) => bytes,
        }
    }
}

/// A plan and how far it has come.
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

    /// What happens to this request.
    pub(super) fn next(&mut self, asked: Asked) -> Option<Injected> {
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
            // A request's numbers depend on its place in its own rule alone, not on what else there
            // is, so that requests side by side do not change each other's.
            let place = (index as u64) << 32 | progress.seen;
            let mut draw = Draw::new(Draw::new(self.plan.seed ^ place).next_u64());
            if draw.chance(rule.probability) {
                progress.happened += 1;
                return Some(Injected { fault: rule.fault, draw });
            }
        }
        None
    }
}

fn can_happen(rule: &FaultRule, asked: Asked) -> bool {
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
