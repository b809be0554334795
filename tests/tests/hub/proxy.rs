//! Proxies come from the environment, and so does the token.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use lilims_tests::hub_server::GateKind;

use super::*;

/// A proxy that counts what goes through it, one request to a connection.
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
    // What follows `http://` up to the path is the server.
    let (method, rest) = head.split_once(" http://").expect("it is asked as a proxy");
    let (server, rest) = rest.split_once('/').unwrap();
    let (line, headers) = rest.split_once("\r\n").unwrap();
    let mut server = TcpStream::connect(server).unwrap();
    write!(server, "{method} /{line}\r\nconnection: close\r\n{headers}").unwrap();
    // Whoever breaks off has what it wanted.
    let _ = std::io::copy(&mut server, &mut client);
}

#[test]
fn proxies_come_from_the_environment() {
    let content = model(95, 5 << 20);
    let hub = hub_with(&content);
    let count = Arc::new(AtomicUsize::new(0));
    let proxy = start_proxy(count.clone());
    let store = Store::of(&hub);
    let mut pull = child::command("pull", store.folder.path(), &hub.endpoint());
    let said = child::run(pull.env("HTTP_PROXY", &proxy).env("http_proxy", &proxy));
    child::said(&said, "done");
    store.assert_has(&content);
    assert_eq!(count.load(Ordering::SeqCst), hub.requests().len(), "all went through it");
}

#[test]
fn the_token_comes_from_the_environment_and_goes_to_the_hub_alone() {
    let content = model(96, 5 << 20);
    let hub = HubServer::start();
    hub.add(Repo::new(ID).gated(GateKind::Manual, &["hf_secret"]).with_file(FILE, content.clone()));
    let store = Store::of(&hub);
    let mut pull = child::command("pull", store.folder.path(), &hub.endpoint());
    let said = child::run(pull.env("HF_TOKEN", "hf_secret"));
    child::said(&said, "done");
    store.assert_has(&content);
    let requests = hub.requests();
    assert!(!requests[0].authorization && requests[0].status == 401, "{:?}", requests[0]);
    let (to_hub, to_cdn): (Vec<_>, Vec<_>) =
        requests[1..].iter().partition(|it| it.host == Host::Hub);
    assert!(to_hub.iter().all(|it| it.authorization) && !to_cdn.is_empty());
    assert!(to_cdn.iter().all(|it| !it.authorization));
}
