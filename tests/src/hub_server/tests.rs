//! Tests of the hub's responses and of each fault, with a raw HTTP client.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::*;

const ID: &str = "tests/Tiny-GGUF";
const PATH: &str = "/tests/Tiny-GGUF/resolve/main/tiny.Q4_0.gguf";
const LEN: u64 = 3_000_000;
const TOKEN: &str = "hf_reader";

/// The bytes of a response, complete or not.
#[derive(Debug)]
struct Reply {
    status: u16,
    head: String,
    body: Vec<u8>,
    was_reset: bool,
}

impl Reply {
    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn announced(&self) -> usize {
        self.header("content-length").unwrap().parse().unwrap()
    }
}

fn ask(method: &str, url: &str, headers: &[(&str, &str)]) -> Reply {
    let (host, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut stream = TcpStream::connect(host).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut request = format!("{method} /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n");
    for (name, value) in headers {
        request += &format!("{name}: {value}\r\n");
    }
    stream.write_all((request + "\r\n").as_bytes()).unwrap();
    let mut bytes = Vec::new();
    let was_reset = stream.read_to_end(&mut bytes).is_err();
    let head_end = bytes.windows(4).position(|end| end == b"\r\n\r\n").map_or(0, |start| start + 4);
    let head = String::from_utf8(bytes[..head_end].to_vec()).unwrap();
    let status = head.split(' ').nth(1).map_or(0, |status| status.parse().unwrap());
    Reply { status, head, body: bytes.split_off(head_end), was_reset }
}

fn content() -> Content {
    Content::generated(7, LEN)
}

fn hub() -> HubServer {
    let hub = HubServer::start();
    let mut repo = Repo::new(ID)
        .with_licence("apache-2.0")
        .with_file("tiny.Q4_0.gguf", content())
        .with_file("config.json", Content::held("{}"))
        .with_file("more/notes.txt", Content::held("notes"));
    repo.card = Some("# Tiny".to_owned());
    repo.downloads = 10;
    repo.former_ids = vec!["tests/Old-GGUF".to_owned()];
    repo.gguf =
        Some(GgufSummary { total: 42, architecture: "llama".to_owned(), context_length: 2048 });
    hub.add(repo);
    let mut other = Repo::new("others/Gated-GGUF")
        .gated(GateKind::Manual, &[TOKEN])
        .with_file("gated.gguf", Content::held("gated"));
    other.downloads = 20;
    hub.add(other);
    hub
}

fn get(hub: &HubServer, path: &str) -> Reply {
    ask("GET", &format!("{}{path}", hub.endpoint()), &[])
}

/// The signed URL of the large file.
fn signed(hub: &HubServer) -> String {
    get(hub, PATH).header("location").unwrap().to_owned()
}

/// Requests the large file from the CDN with a fault; an empty `range` requests the whole file.
fn fetch_with(fault: Fault, range: &str) -> Reply {
    let hub = hub();
    let url = signed(&hub);
    hub.set_faults(FaultPlan::new(5, [FaultRule::once(Target::Bytes, fault)]));
    let headers = [("Range", range)];
    let reply = ask("GET", &url, if range.is_empty() { &[] } else { &headers });
    assert_eq!(hub.faults_so_far(), [fault]);
    let after = ask("GET", &url, &[]);
    match fault {
        Fault::ExpireUrls => assert_eq!(after.status, 403),
        Fault::NewEtag { other_bytes: true } => assert_ne!(after.body, whole()),
        _ => assert!(after.body == whole(), "the fault happens only once"),
    }
    reply
}

fn whole() -> Vec<u8> {
    content().read(0..LEN).unwrap()
}

#[test]
fn resolve_redirects_to_the_cdn_with_file_facts() {
    let hub = hub();
    let reply = get(&hub, PATH);
    assert_eq!(reply.status, 302);
    assert_eq!(reply.header("x-linked-size"), Some("3000000"));
    let sha256 = hub.sha256(ID, "tiny.Q4_0.gguf").unwrap();
    assert_eq!(sha256, content().sha256().unwrap());
    assert_eq!(reply.header("x-linked-etag"), Some(format!("\"{sha256}\"").as_str()));
    let commit = reply.header("x-repo-commit").unwrap();
    assert_eq!(commit.len(), 40);
    let location = reply.header("location").unwrap();
    assert!(location.starts_with(&hub.cdn_endpoint()));
    assert!(ask("GET", location, &[]).body == whole());

    let pinned = get(&hub, &PATH.replace("main", commit));
    assert_eq!(pinned.status, 302);
    let head = ask("HEAD", &format!("{}{PATH}", hub.endpoint()), &[("Authorization", "Bearer x")]);
    assert_eq!((head.status, head.body.len()), (401, 0));

    let log = hub.requests();
    assert_eq!(log.iter().map(|r| r.host).collect::<Vec<_>>()[..2], [Host::Hub, Host::Cdn]);
    assert!(log[1].path.ends_with(&sha256));
    assert_eq!((log[1].status, log[1].body_bytes, log[1].authorization), (200, LEN, false));
    assert!(log[3].authorization);
    hub.clear_requests();
    assert!(hub.requests().is_empty());
}

#[test]
fn small_files_are_served_by_the_hub() {
    let hub = hub();
    let path = "/tests/Tiny-GGUF/resolve/main/config.json";
    let reply = get(&hub, path);
    let location = reply.header("location").unwrap();
    assert_eq!(reply.status, 307);
    assert!(location.starts_with("/api/resolve-cache/models/tests/Tiny-GGUF/"), "{location}");
    // The git blob id of `{}` without a line break.
    let oid = Some("\"9e26dfeeb6e641a33dae4961196235bdb965b21b\"");
    assert_eq!(reply.header("x-linked-etag"), oid);
    let cached = get(&hub, location);
    assert_eq!((cached.status, cached.body.as_slice()), (200, &b"{}"[..]));
    assert_eq!(cached.header("etag"), oid);

    hub.set_small_files_redirect(false);
    let direct = get(&hub, path);
    assert_eq!(
        (direct.status, direct.body.as_slice(), direct.header("etag")),
        (200, &b"{}"[..], oid)
    );
}

#[test]
fn cdn_serves_ranges() {
    let hub = hub();
    let url = signed(&hub);
    let part = ask("GET", &url, &[("Range", "bytes=1048570-2097160")]);
    assert_eq!(part.status, 206);
    assert_eq!(part.header("content-range"), Some("bytes 1048570-2097160/3000000"));
    assert_eq!(part.announced(), part.body.len());
    assert!(part.body == content().read(1_048_570..2_097_161).unwrap());

    let etag = part.header("etag").unwrap();
    let range = ("Range", "bytes=2999999-");
    assert_eq!(ask("GET", &url, &[range, ("If-Range", etag)]).body, whole()[2_999_999..]);
    assert_eq!(ask("GET", &url, &[range, ("If-Range", "\"other\"")]).status, 200);
    let beyond = ask("GET", &url, &[("Range", "bytes=3000000-")]);
    assert_eq!((beyond.status, beyond.header("content-range")), (416, Some("bytes */3000000")));
    let head = ask("HEAD", &url, &[]);
    assert_eq!((head.status, head.announced(), head.body.len()), (200, 3_000_000, 0));
    assert_eq!(ask("GET", &url.replace("Signature=", "Signature=0"), &[]).status, 403);
}

#[test]
fn files_on_disk_are_served() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    std::fs::write(&path, whole()).unwrap();
    let hub = HubServer::start();
    hub.add(Repo::new(ID).with_file("tiny.Q4_0.gguf", Content::on_disk(&path).unwrap()));
    let part = ask("GET", &signed(&hub), &[("Range", "bytes=100-2500000")]);
    assert!(part.body == whole()[100..=2_500_000]);
}

#[test]
fn search_filters_sorts_and_expands() {
    let hub = hub();
    let ids = |query: &str| {
        let found = get(&hub, &format!("/api/models?{query}")).json();
        let ids = found.as_array().unwrap().iter().map(|it| it["id"].as_str().unwrap().to_owned());
        ids.collect::<Vec<_>>()
    };
    assert_eq!(ids("filter=gguf&sort=downloads&direction=-1"), ["others/Gated-GGUF", ID]);
    assert_eq!(ids("search=tiny%20gguf"), [ID]);
    assert_eq!(ids("author=others"), ["others/Gated-GGUF"]);
    assert_eq!(ids("filter=gguf&filter=license:apache-2.0"), [ID]);
    assert!(ids("filter=mlx").is_empty());

    let expanded = get(&hub, "/api/models?search=tiny&expand[]=gguf&expand[]=tags&expand[]=gated");
    let model = &expanded.json()[0];
    assert_eq!(model["gguf"]["context_length"], 2048);
    assert_eq!(model["gated"], false);
    assert!(model["tags"].as_array().unwrap().contains(&"license:apache-2.0".into()));
    assert_eq!(model["downloads"], Value::Null);
    assert!(get(&hub, "/api/models?full=true").json()[0]["siblings"].is_array());
    assert_eq!(get(&hub, "/api/models?expand[]=nonsense").status, 400);

    let first = get(&hub, "/api/models?limit=1&sort=downloads");
    let next = first.header("link").unwrap().trim_start_matches('<').split_once('>').unwrap().0;
    let second = ask("GET", next, &[]);
    assert_eq!(
        (first.json()[0]["id"].as_str(), second.json()[0]["id"].as_str()),
        (Some("others/Gated-GGUF"), Some(ID))
    );
    assert_eq!(second.header("link"), None);
    assert_eq!(first.header("ratelimit-policy"), Some("\"fixed window\";\"api\";q=500;w=300"));
}

#[test]
fn model_is_described() {
    let hub = hub();
    let model = get(&hub, "/api/models/tests/Tiny-GGUF?blobs=true").json();
    assert_eq!(model["cardData"]["license"], "apache-2.0");
    assert_eq!(model["sha"].as_str().unwrap().len(), 40);
    let siblings = model["siblings"].as_array().unwrap();
    let names: Vec<_> = siblings.iter().map(|it| it["rfilename"].as_str().unwrap()).collect();
    assert_eq!(names, ["README.md", "config.json", "more/notes.txt", "tiny.Q4_0.gguf"]);
    assert_eq!(siblings[3]["lfs"]["size"], LEN);
    assert_eq!(siblings[3]["lfs"]["sha256"].as_str(), hub.sha256(ID, "tiny.Q4_0.gguf").as_deref());
    // The pointer's three lines, 42, 76 and 13 bytes long, with their line breaks.
    assert_eq!(siblings[3]["lfs"]["pointerSize"], 132);
    assert_eq!(get(&hub, "/api/models/tests/Tiny-GGUF/revision/main").json()["id"], ID);
    assert_eq!(get(&hub, "/api/models/others/Gated-GGUF").json()["gated"], "manual");

    let moved = get(&hub, "/api/models/tests/Old-GGUF?blobs=true");
    assert_eq!(moved.header("location"), Some("/api/models/tests/Tiny-GGUF?blobs=true"));
    assert_eq!(moved.status, 307);
}

#[test]
fn tree_is_paged() {
    let hub = hub();
    hub.set_tree_page(2);
    let mut url = format!("{}/api/models/{ID}/tree/main?recursive=true", hub.endpoint());
    let mut paths = Vec::new();
    loop {
        let page = ask("GET", &url, &[]);
        for entry in page.json().as_array().unwrap() {
            paths.push((entry["type"].as_str().unwrap().to_owned(), entry["path"].clone()));
            assert_eq!(entry["lfs"].is_object(), entry["path"] == "tiny.Q4_0.gguf");
        }
        let Some(link) = page.header("link") else { break };
        url = link.trim_start_matches('<').split_once('>').unwrap().0.to_owned();
    }
    let expected = ["more", "README.md", "config.json", "more/notes.txt", "tiny.Q4_0.gguf"];
    assert_eq!(paths.iter().map(|(_, path)| path).collect::<Vec<_>>(), expected);
    assert_eq!(paths[0].0, "directory");
    let inside = get(&hub, "/api/models/tests/Tiny-GGUF/tree/main/more").json();
    assert_eq!(inside.as_array().unwrap().len(), 1);
}

#[test]
fn errors_have_the_codes_of_the_real_hub() {
    let hub = hub();
    hub.add_user("stranger", "hf_other");
    let url = |path: &str| format!("{}{path}", hub.endpoint());
    let gated = url("/others/Gated-GGUF/resolve/main/gated.gguf");
    let code =
        |reply: &Reply| (reply.status, reply.header("x-error-code").unwrap_or("").to_owned());
    let with = |url: &str, token: &str| {
        let bearer = format!("Bearer {token}");
        let headers = [("Authorization", bearer.as_str())];
        ask("GET", url, if token.is_empty() { &[] } else { &headers })
    };
    for (url, token, status, expected) in [
        (gated.clone(), "", 401, "GatedRepo"),
        (gated.clone(), "hf_made_up", 401, "GatedRepo"),
        (gated.clone(), "hf_other", 403, "GatedRepo"),
        (gated.clone(), TOKEN, 302, ""),
        (url("/api/models/no/body"), "", 401, ""),
        (url("/api/models/no/body"), "hf_other", 404, "RepoNotFound"),
        (url("/api/models/tests/Tiny-GGUF"), "hf_made_up", 401, ""),
        (url("/tests/Tiny-GGUF/resolve/main/missing"), "", 404, "EntryNotFound"),
        (url("/tests/Tiny-GGUF/resolve/v2/config.json"), "", 404, "RevisionNotFound"),
        (url("/api/models/tests/Tiny-GGUF/revision/v2"), "", 404, "RevisionNotFound"),
        (url("/api/whoami-v2"), "", 401, ""),
        (url("/api/whoami-v2"), "hf_other", 200, ""),
    ] {
        let reply = with(&url, token);
        assert_eq!(code(&reply), (status, expected.to_owned()), "{url} {token}");
        assert_eq!(reply.header("x-error-message").is_some(), status >= 400);
    }
    assert_eq!(with(&url("/api/whoami-v2"), "hf_other").json()["name"], "stranger");
}

#[test]
fn connections_end_early() {
    let reply = fetch_with(Fault::Truncate(BodyOffset::After(1_234_567)), "");
    assert!(reply.body == whole()[..1_234_567]);
    assert_eq!((reply.was_reset, reply.announced()), (false, 3_000_000));

    let reply = fetch_with(Fault::Truncate(BodyOffset::After(0)), "");
    assert_eq!((reply.status, reply.body.len()), (200, 0));

    let reply = fetch_with(Fault::Reset(BodyOffset::Random), "bytes=1000-2999999");
    assert!(reply.body.len() < 2_999_000);
    assert!(whole()[1000..].starts_with(&reply.body));
}

#[test]
fn answers_stop_or_come_slowly() {
    let pause = Duration::from_millis(200);
    let started = Instant::now();
    let reply = fetch_with(Fault::Stall(BodyOffset::After(100_000), pause), "");
    assert!(reply.body == whole()[..100_000]);
    let reply = fetch_with(Fault::HeadersOnly(pause), "");
    assert_eq!((reply.status, reply.announced(), reply.body.len()), (200, 3_000_000, 0));
    let reply = fetch_with(Fault::Silence(pause), "");
    assert_eq!((reply.head.as_str(), reply.body.len()), ("", 0));
    assert!(started.elapsed() >= 3 * pause);

    let started = Instant::now();
    let drip = Fault::Drip { piece_bytes: 10, pause: pause / 10, slow_bytes: 100 };
    assert!(fetch_with(drip, "").body == whole());
    assert!(started.elapsed() >= 9 * (pause / 10));
}

#[test]
fn bodies_are_wrong() {
    let right = whole();
    let reply = fetch_with(Fault::FlipBit(BodyOffset::After(2_000_000)), "");
    let wrong: Vec<_> = (0..right.len()).filter(|&at| reply.body[at] != right[at]).collect();
    assert_eq!(wrong, [2_000_000]);
    let reply = fetch_with(Fault::FlipBit(BodyOffset::Random), "bytes=0-999");
    assert_eq!((0..1000).filter(|&at| reply.body[at] != right[at]).count(), 1);

    let reply = fetch_with(Fault::EmptyBody, "bytes=0-999");
    assert_eq!((reply.status, reply.announced(), reply.body.len()), (206, 0, 0));

    let honest = Fault::TooLong { extra_bytes: 10, is_stated: true };
    let reply = fetch_with(honest, "bytes=0-999");
    assert_eq!(reply.header("content-range"), Some("bytes 0-1009/3000000"));
    assert!(reply.body == right[..1010]);
    let lying = Fault::TooLong { extra_bytes: 10, is_stated: false };
    let reply = fetch_with(lying, "bytes=0-999");
    assert_eq!(reply.header("content-range"), Some("bytes 0-999/3000000"));
    assert_eq!((reply.announced(), reply.body.len()), (1010, 1010));
    let reply = fetch_with(lying, "");
    assert_eq!((reply.announced(), reply.body.len()), (3_000_010, 3_000_010));
}

#[test]
fn ranges_are_ignored_or_wrong() {
    let reply = fetch_with(Fault::IgnoreRange, "bytes=1000-1999");
    assert_eq!((reply.status, reply.body.len()), (200, 3_000_000));
    let reply = fetch_with(Fault::WrongRange(RangeLie::Offset), "bytes=1000-1999");
    assert_eq!(reply.header("content-range"), Some("bytes 999-1998/3000000"));
    assert!(reply.body == whole()[1000..2000]);
    let reply = fetch_with(Fault::WrongRange(RangeLie::Total), "bytes=1000-1999");
    assert_eq!(reply.header("content-range"), Some("bytes 1000-1999/3000001"));
}

#[test]
fn file_changes_during_a_download() {
    for other_bytes in [false, true] {
        let hub = hub();
        let url = signed(&hub);
        let etag = ask("HEAD", &url, &[]).header("etag").unwrap().to_owned();
        let rule = FaultRule::once(Target::Bytes, Fault::NewEtag { other_bytes });
        hub.set_faults(FaultPlan::new(1, [rule]));
        let reply = ask("GET", &url, &[("Range", "bytes=5-"), ("If-Range", &etag)]);
        assert_eq!((reply.status, reply.body.len()), (200, 3_000_000));
        assert_ne!(reply.header("etag"), Some(etag.as_str()));
        assert_eq!(reply.body == whole(), !other_bytes);
    }
}

#[test]
fn servers_fail() {
    for status in [500, 502, 503, 404] {
        assert_eq!(fetch_with(Fault::Status(status), "").status, status);
    }
    let reply = fetch_with(Fault::TooManyRequests { retry_after_s: 3 }, "");
    assert_eq!((reply.status, reply.header("retry-after")), (429, Some("3")));
    assert_eq!(reply.header("ratelimit"), Some("\"resolvers\";r=0;t=3"));
    let date = Fault::RateLimited(WaitHeader::Date, 100);
    assert!(fetch_with(date, "").header("retry-after").unwrap().ends_with("GMT"));
    let reply = fetch_with(Fault::RateLimited(WaitHeader::RateLimit, 280), "");
    assert_eq!(reply.header("ratelimit"), Some("\"resolvers\";r=0;t=280"));
    assert_eq!((reply.status, reply.header("retry-after")), (429, None));
    let reply = fetch_with(Fault::NoLocation, "");
    assert_eq!((reply.status, reply.header("location")), (302, None));
    let reply = fetch_with(Fault::Portal, "");
    assert_eq!((reply.status, reply.body.starts_with(b"<!DOCTYPE html>")), (200, true));
    let reply = fetch_with(Fault::WrongRange(RangeLie::Absent), "bytes=5-9");
    assert_eq!((reply.status, reply.header("content-range")), (206, None));
    assert_eq!(fetch_with(Fault::ExpireUrls, "").status, 403);
    let reply = fetch_with(Fault::Garbage, "");
    assert!(!(reply.head + &String::from_utf8_lossy(&reply.body)).starts_with("HTTP"));
    assert_ne!(reply.body.len(), 0);
}

#[test]
fn hub_moves_and_lists_odd_entries() {
    let (hub, other) = (hub(), hub());
    other.set_odd_entries(true);
    assert!(get(&other, "/api/models").body.starts_with(b"[null,"));
    hub.move_to(&other);
    let reply = get(&hub, "/api/models?search=x");
    let location = format!("{}/api/models?search=x", other.endpoint());
    assert_eq!((reply.status, reply.header("location")), (308, Some(location.as_str())));
}

#[test]
fn expired_urls_are_renewed_by_resolve() {
    let hub = hub();
    let old = signed(&hub);
    hub.expire_urls();
    assert_eq!(ask("GET", &old, &[]).status, 403);
    assert_eq!(ask("HEAD", &signed(&hub), &[]).status, 200);
}

#[test]
fn redirects_lead_nowhere() {
    let hub = hub();
    let rules =
        [Fault::RedirectLoop, Fault::RedirectToNowhere, Fault::Gated(401), Fault::Gated(403)]
            .map(|fault| FaultRule::once(Target::Resolve, fault));
    hub.set_faults(FaultPlan::new(1, rules));
    let mut url = signed(&hub);
    for _ in 0..10 {
        let reply = ask("GET", &url, &[]);
        assert_eq!(reply.status, 302);
        url = format!("{}{}", hub.endpoint(), reply.header("location").unwrap());
    }
    let nowhere = signed(&hub);
    let host = nowhere.strip_prefix("http://").unwrap().split('/').next().unwrap();
    assert!(TcpStream::connect(host).is_err());
    for status in [401, 403] {
        let reply = get(&hub, PATH);
        assert_eq!((reply.status, reply.header("x-error-code")), (status, Some("GatedRepo")));
        assert!(reply.header("x-error-message").unwrap().contains(ID));
    }
    assert_eq!(get(&hub, PATH).status, 302);
}

#[test]
fn rules_count_requests() {
    let hub = hub();
    let rule = FaultRule::once(Target::Api, Fault::Status(500)).after(1).times(2);
    hub.set_faults(FaultPlan::new(1, [rule]));
    let statuses = || (0..5).map(|_| get(&hub, "/api/models").status).collect::<Vec<_>>();
    assert_eq!(statuses(), [200, 500, 500, 200, 200]);
    assert_eq!(get(&hub, PATH).status, 302, "another target");

    let rule = FaultRule::always(Target::Api, Fault::Status(500)).with_probability(0.5);
    let plan = FaultPlan::new(9, [rule]);
    let mut runs = (0..2).map(|_| {
        hub.set_faults(plan.clone());
        (0..20).map(|_| get(&hub, "/api/models").status).collect::<Vec<_>>()
    });
    let run = runs.next().unwrap();
    assert_eq!(Some(&run), runs.next().as_ref(), "the plan depends on the seed");
    assert!(run.contains(&200) && run.contains(&500));
}

#[test]
fn random_plans_are_finite_unless_they_may_fail() {
    let plans: Vec<_> = (0..500).map(FaultPlan::random).collect();
    let failing = plans.iter().filter(|plan| plan.may_fail()).count();
    assert!((50..150).contains(&failing), "{failing} of 500");
    for (seed, plan) in (0..).zip(&plans) {
        assert_eq!(*plan, FaultPlan::random(seed));
        assert!(plan.may_fail() || plan.most_faults().is_some_and(|most| most <= 12));
    }
    assert!(!FaultPlan::none().may_fail());
}

#[test]
fn requests_without_faults_share_a_connection() {
    let hub = hub();
    let mut stream = TcpStream::connect(hub.endpoint().strip_prefix("http://").unwrap()).unwrap();
    for _ in 0..2 {
        write!(stream, "HEAD {PATH} HTTP/1.1\r\nHost: hub\r\n\r\n").unwrap();
        let mut head = [0; 12];
        stream.read_exact(&mut head).unwrap();
        assert_eq!(&head, b"HTTP/1.1 302");
        let mut end = [0; 4];
        while end != *b"\r\n\r\n" {
            end.rotate_left(1);
            stream.read_exact(&mut end[3..]).unwrap();
        }
    }
}

/// Far below the speed on an idle machine, and far above that of a download over a network.
const SLOWEST_BYTES_PER_S: f64 = 2e8;

#[test]
fn large_files_are_served_fast_in_little_memory() {
    const LARGE: u64 = 1 << 30;
    let hub = HubServer::start();
    hub.add(Repo::new(ID).with_file("tiny.Q4_0.gguf", Content::generated(3, LARGE)));
    let url = signed(&hub);
    let (host, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut stream = TcpStream::connect(host).unwrap();
    let started = Instant::now();
    write!(stream, "GET /{path} HTTP/1.1\r\nHost: cdn\r\nConnection: close\r\n\r\n").unwrap();
    let mut piece = vec![0; 1 << 20];
    let mut got = 0;
    loop {
        let count = stream.read(&mut piece).unwrap();
        if count == 0 {
            break;
        }
        got += count as u64;
    }
    let bytes_per_s = got as f64 / started.elapsed().as_secs_f64();
    println!("{:.2} GB/s", bytes_per_s / 1e9);
    assert!(got > LARGE);
    assert!(bytes_per_s > SLOWEST_BYTES_PER_S, "{bytes_per_s} bytes/s");
}
