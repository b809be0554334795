//! Proxies and the token are configured through the environment.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use lilims_tests::hub_server::GateKind;

use super::*;

/// Starts a proxy that counts requests, one for each connection.
fn start_proxy(count: Arc<AtomicUsize>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for client in listener.incoming() {
            count.fetch_add(1, Ordering::SeqCst);
            thread::spawn(move || forward(client.unwrap()));
        }
    });
    format!("http://{address}")
}

fn forward(mut client: TcpStream) {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") && client.read(&mut byte).is_ok_and(|n| n > 0) {
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    // The server is between `http://` and the path.
    let (method, rest) = head.split_once(" http://").expect("the request has an absolute URL");
    let (server, rest) = rest.split_once('/').unwrap();
    let (line, headers) = rest.split_once("\r\n").unwrap();
    let mut server = TcpStream::connect(server).unwrap();
    write!(server, "{method} /{line}\r\nconnection: close\r\n{headers}").unwrap();
    // A client that closes the connection early has all it needs.
    let _ = std::io::copy(&mut server, &mut client);
}

#[test]
fn proxies_are_read_from_the_environment() {
    let content = model(95, 5 << 20);
    let hub = hub_with(&content);
    let count = Arc::new(AtomicUsize::new(0));
    let proxy = start_proxy(count.clone());
    let store = Store::of(&hub);
    let mut pull = child::command("pull", store.folder.path(), &hub.endpoint());
    let stdout = child::run(pull.env("HTTP_PROXY", &proxy).env("http_proxy", &proxy));
    child::value_of(&stdout, "done");
    store.assert_has(&content);
    assert_eq!(
        count.load(Ordering::SeqCst),
        hub.requests().len(),
        "all requests must use the proxy"
    );
}

#[test]
fn token_is_read_from_the_environment_and_sent_to_the_hub_only() {
    let content = model(96, 5 << 20);
    let hub = HubServer::start();
    hub.add(Repo::new(ID).gated(GateKind::Manual, &["hf_secret"]).with_file(FILE, content.clone()));
    let store = Store::of(&hub);
    let mut pull = child::command("pull", store.folder.path(), &hub.endpoint());
    let stdout = child::run(pull.env("HF_TOKEN", "hf_secret"));
    child::value_of(&stdout, "done");
    store.assert_has(&content);
    let requests = hub.requests();
    assert!(!requests[0].authorization && requests[0].status == 401, "{:?}", requests[0]);
    let (to_hub, to_cdn): (Vec<_>, Vec<_>) =
        requests[1..].iter().partition(|it| it.host == Host::Hub);
    assert!(to_hub.iter().all(|it| it.authorization) && !to_cdn.is_empty());
    assert!(to_cdn.iter().all(|it| !it.authorization));
}
