//! Hostile text in the real window: it executes, loads and hides nothing.

#![cfg(target_os = "linux")]

mod vectors;

use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::{Context, Result, ensure};
use lilims_store::{ConversationChange, NewMessage, Part, PartKind, Role, Store};
use lilims_tests::app_window::{AppWindow, Start, wait};
use serde_json::{Value, json};

/// The script of the vectors. Without quotes, so that it fits anywhere.
const SCRIPT: &str = "window.lilimsHit=1";

/// What the rendered Markdown of the page has that it may not have.
const FORBIDDEN: &str = r#"
    const html = new Set(`p h1 h2 h3 h4 h5 h6 em strong del a span code pre figure figcaption button ul ol
        li blockquote table thead tbody tr th td div hr br input bdi sup section`.split(/\s+/));
    const math = new Set(`math mfrac mi mn mo mover mroot mrow mspace msqrt msub msubsup msup mtable mtd
        mtext mtr munder munderover`.split(/\s+/));
    const attributes = new Set(`class dir role aria-label aria-pressed tabindex type disabled checked start
        scope href rel target data-label data-name data-note data-note-text data-source`.split(/\s+/));
    const mathAttributes = new Set(`class display displaystyle scriptlevel stretchy symmetric largeop
        movablelimits minsize maxsize linethickness width height depth mathvariant`.split(/\s+/));
    const found = new Set();
    for (const element of document.querySelectorAll('.prose *')) {
        const isMath = element.namespaceURI.endsWith('MathML');
        if (!(isMath ? math : html).has(element.localName)) found.add('<' + element.localName + '>');
        for (const { name, value } of element.attributes) {
            if (!(isMath ? mathAttributes : attributes).has(name)) found.add(element.localName + ' ' + name);
            if (/^on|src|style|action/.test(name) && name !== 'data-source' && name !== 'displaystyle')
                found.add('attribute ' + name);
        }
        if (element.localName === 'a' && !['http:', 'https:', 'mailto:'].includes(element.protocol))
            found.add('link ' + element.href);
        if (element.localName === 'input' && element.type !== 'checkbox') found.add('input ' + element.type);
        if (element.localName === 'button' && element.type !== 'button') found.add('button ' + element.type);
    }
    for (const element of document.querySelectorAll('.bubble *')) found.add('bubble ' + element.localName);
    for (const element of document.querySelectorAll('.conversation :is(form, template), iframe, object, embed, base, img'))
        found.add('document ' + element.localName);
    return Array.from(found)"#;

/// The indices of answers in which the letters of the expected texts are not visible, in their order.
const HIDDEN: &str = r#"
    const decode = text => {
        const field = document.createElement('textarea');
        field.innerHTML = text.replaceAll('<', '&lt;');
        return field.value;
    };
    const letters = text => decode(text).replace(/[^\p{L}\p{N}]/gu, '');
    const isWithin = (part, whole) => {
        let at = 0;
        for (const c of whole) if (c === part[at]) at++;
        return at >= part.length;
    };
    // Messages far from the end are laid out only when they are scrolled to.
    for (const message of document.querySelectorAll('.message')) message.style.contentVisibility = 'visible';
    const shown = Array.from(document.querySelectorAll('[data-testid=answer-text]'), it => it.innerText);
    return arguments[0].flatMap((text, index) =>
        isWithin(letters(text), letters(shown[index] ?? '')) ? [] : [index + ': ' + text.slice(0, 80) +
            ' -> ' + (shown[index] ?? '').slice(0, 200)])"#;

#[test]
fn hostile_text_executes_loads_and_hides_nothing() -> Result<()> {
    let server = CountingServer::start()?;
    let vectors = vectors::all(SCRIPT, &format!("http://127.0.0.1:{}", server.port))?;
    ensure!(vectors.len() > 200, "{} vectors", vectors.len());
    let home = tempfile::tempdir()?;
    store_answers(home.path(), vectors.iter().map(|vector| vector.text.as_str()))?;
    let window = AppWindow::open(Start { home: Some(home.path()), ..Start::default() })?;
    let run = |script: &str, arguments: &[Value]| window.session().run(script, arguments);
    window.wait("all answers", || {
        // Earlier messages are drawn when the reader comes near.
        let script = "const it = document.querySelector('main.conversation');
            it.scrollTop = it.scrollHeight; it.scrollTop = 0; it.dispatchEvent(new Event('scroll'));
            return document.querySelectorAll('[data-testid=answer-text]').length";
        Ok((run(script, &[])? == json!(vectors.len())).then_some(()))
    })?;
    let location = run("return location.href", &[])?;
    let title = run("return document.title", &[])?;
    let n_scripts = run("return document.scripts.length", &[])?;
    window.wait("all formulas", || {
        let script = "return document.querySelector('.prose .math:not(.drawn, .failed)') === null";
        Ok((run(script, &[])? == Value::Bool(true)).then_some(()))
    })?;
    window.wait("all code", || {
        let script =
            "return document.querySelector('.prose figure.code:not(.highlighted)') === null";
        Ok((run(script, &[])? == Value::Bool(true)).then_some(()))
    })?;

    let forbidden = run(FORBIDDEN, &[])?;
    ensure!(forbidden == json!([]), "forbidden: {forbidden}");
    let expected: Vec<&str> =
        vectors.iter().map(|vector| vector.shown.unwrap_or(&vector.text)).collect();
    let hidden = run(HIDDEN, &[json!(expected)])?;
    ensure!(hidden == json!([]), "hidden: {hidden:#}");
    // Handlers that wait for the pointer or the focus would run now.
    run(
        "for (const element of document.querySelectorAll('.prose *'))
            for (const name of ['mouseover', 'mouseenter', 'focus', 'focusin', 'toggle', 'error', 'load'])
                element.dispatchEvent(new Event(name, { bubbles: true }))",
        &[],
    )?;
    ensure!(run("return window.lilimsHit ?? null", &[])?.is_null(), "a script ran");
    ensure!(run("return location.href", &[])? == location, "the page left");
    ensure!(run("return document.scripts.length", &[])? == n_scripts, "there are new scripts");
    ensure!(run("return document.title", &[])? == title, "the title changed");
    // The page still works.
    window.click("settings-toggle")?;
    window.wait_for("settings")?;
    ensure!(server.n_connections() == 0, "{} connections", server.n_connections());
    // The server does count.
    TcpStream::connect(("127.0.0.1", server.port))?;
    wait("the connection of this test", || Ok((server.n_connections() == 1).then_some(())))
}

/// Stores a conversation in which each text is a question, the reasoning and the answer.
fn store_answers<'a>(
    home: &std::path::Path,
    texts: impl IntoIterator<Item = &'a str>,
) -> Result<()> {
    let store = Store::open(home)?;
    let conversation = store.create_conversation(&ConversationChange::default())?;
    let mut parent = None;
    for text in texts {
        let question = NewMessage::text(&conversation, parent.as_ref(), Role::User, text);
        let question = store.add_message(&question)?;
        let mut answer = NewMessage::text(&conversation, Some(&question), Role::Assistant, text);
        let reasoning = Part { kind: PartKind::Reasoning, text: text.to_owned(), data: None };
        answer.parts.insert(0, reasoning);
        parent = Some(store.add_message(&answer)?);
    }
    Ok(())
}

/// A server that counts who connects.
struct CountingServer {
    port: u16,
    count: Arc<AtomicUsize>,
}

impl CountingServer {
    fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").context("a port on this machine")?;
        let port = listener.local_addr()?.port();
        let count = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&count);
        // It ends with the process.
        thread::spawn(move || {
            for _ in listener.incoming() {
                counter.fetch_add(1, Ordering::SeqCst);
            }
        });
        Ok(Self { port, count })
    }

    fn n_connections(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }
}
