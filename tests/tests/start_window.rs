//! What is painted before the page has started, and how what is painted is changed, in the real window.

#![cfg(target_os = "linux")]

use anyhow::{Result, ensure};
use lilims_store::{ConversationChange, NewMessage, Role, Store};
use lilims_tests::app_window::{AppWindow, SIZES, Start};
use serde_json::json;

#[test]
fn what_is_painted_first_has_the_places_of_the_page() -> Result<()> {
    let window = AppWindow::open(Start::default())?;
    window.wait_for_model("ready")?;
    for (width, height) in SIZES {
        window.session().resize(width, height)?;
        let script = "
            const text = await (await fetch('index.html')).text();
            const frame = new DOMParser().parseFromString(text, 'text/html').getElementById('frame');
            frame.style.cssText = 'position: fixed; inset: 0';
            document.body.append(frame);
            const of = (root, selector) => {
                const { x, y, width, height } = root.querySelector(selector).getBoundingClientRect();
                return [x, y, width, height].map(Math.round);
            };
            const page = document.querySelector('.app:not(#frame)');
            const parts = ['.header', '.composer-box', ...(innerWidth > 900 ? ['.sidebar'] : [])];
            if (parts.length === 2 && frame.querySelector('.sidebar').checkVisibility()) return [['sidebar']];
            return parts.map(it => [it, of(frame, it), of(page, it)]);";
        let places = window.session().run(script, &[])?;
        window.save_screenshot("frame", (width, height))?;
        for place in places.as_array().into_iter().flatten() {
            ensure!(place[1] == place[2], "at {width}x{height}: {place}");
        }
        let typed = window.session().run(
            "document.querySelector('#frame textarea').value = 'Why';
            return [window.lilimsTakeFrame(), document.getElementById('frame'), window.lilimsTakeFrame()]",
            &[],
        )?;
        ensure!(typed == json!(["Why", null, ""]), "what was typed is {typed}");
    }
    Ok(())
}

#[test]
fn what_grows_is_changed_without_touching_what_stays() -> Result<()> {
    let window = AppWindow::open(Start::default())?;
    let script = r#"
        const versions = ['<p>a <em>b</em></p>', '<p>a <em>b c</em></p>', '<p>a <em>b c</em> d</p><p>e',
            '<ul><li>1</li></ul>', '<ul><li>1</li><li class="x">2</li></ul>', '<p>a</p>', '',
            '<p>a</p><figure class="code"><pre>x</pre></figure>', '<p>a</p><figure class="code"><pre>xy</pre></figure>',
            '<table><tr><td>1</td></tr></table>', '<p title="1">a</p>', '<p title="2">ab</p>', 'b<!-- c -->', '<p>b'];
        const shown = document.createElement('div'), wanted = document.createElement('div');
        const differences = versions.concat([...versions].reverse()).filter(html => {
            window.lilimsPatch(shown, html);
            wanted.innerHTML = html;
            return shown.innerHTML !== wanted.innerHTML;
        });
        window.lilimsPatch(shown, versions[0]);
        document.body.append(shown);
        const emphasis = shown.querySelector('em');
        getSelection().setBaseAndExtent(shown.firstChild.firstChild, 0, emphasis.firstChild, 1);
        window.lilimsPatch(shown, versions[2]);
        const selected = String(getSelection());
        const stays = emphasis === shown.querySelector('em');
        shown.remove();
        return [differences, stays, selected];"#;
    let seen = window.session().run(script, &[])?;
    ensure!(seen == json!([[], true, "a b"]), "seen: {seen}");
    Ok(())
}

#[test]
fn a_conversation_is_shown_at_its_end_while_its_parts_change_size() -> Result<()> {
    let home = tempfile::tempdir()?;
    let store = Store::open(home.path())?;
    let id = store.create_conversation(&ConversationChange::default())?;
    let question = store.add_message(&NewMessage::text(&id, None, Role::User, "Which metals?"))?;
    // The formulas become shorter once they are drawn, and the view higher once the model is ready.
    let answer =
        format!("{}The energy is $E = mc^2$.\n\n$$\\frac12$$\n", "Some words.\n\n".repeat(40));
    store.add_message(&NewMessage::text(&id, Some(&question), Role::Assistant, &answer))?;
    drop(store);
    let window = AppWindow::open(Start { home: Some(home.path()), ..Start::default() })?;
    window.wait_for_model("ready")?;
    window.session().resize(SIZES[1].0, SIZES[1].1)?;
    for _ in 0..3 {
        window.reload()?;
        window.wait("the answer", || Ok((window.answers()?.len() == 1).then_some(())))?;
        window.wait("the drawn formulas", || {
            let drawn = "return document.querySelector('.math.display.drawn') !== null";
            Ok((window.session().run(drawn, &[])? == true).then_some(()))
        })?;
        window.wait("the end of the conversation", || {
            let script = "const it = document.querySelector('main.conversation');
                return it.scrollHeight - it.clientHeight - it.scrollTop < 2";
            Ok((window.session().run(script, &[])? == true).then_some(()))
        })?;
        ensure!(!window.exists("jump-to-latest")?, "the view has left the end by itself");
    }
    Ok(())
}

#[test]
fn a_page_that_panics_keeps_what_was_typed_and_is_loaded_again() -> Result<()> {
    let window = AppWindow::open(Start::default())?;
    window.wait_for_model("ready")?;
    window.ask_and_wait("What is gravity?")?;
    let answer = window.answers()?.remove(0);
    window.type_into("composer-input", "and what is")?;
    // The page's own code meets a browser that does not obey, and panics.
    let disobey =
        "document.createElement = document.createElementNS = () => { throw new Error('broken') }";
    window.session().run(disobey, &[])?;
    let script = "document.querySelector('[data-testid=settings-toggle]').click()";
    let _ = window.session().run(script, &[]);
    let panic = "const it = document.getElementById('panic');
        return it.hidden ? null : [it.querySelector('h1').innerText, it.querySelector('pre').innerText]";
    let shown = window.wait("what was kept", || {
        Ok(Some(window.session().run(panic, &[])?).filter(|it| !it.is_null()))
    })?;
    ensure!(shown == json!(["Something in this page failed", "and what is"]), "{shown}");
    // The driver draws with the page's functions.
    let obey = "delete document.createElement; delete document.createElementNS";
    window.session().run(obey, &[])?;
    window.save_screenshot("panic-light", SIZES[0])?;
    window.session().run("document.querySelector('#panic button').click()", &[])?;
    window.wait_for_model("ready")?;
    window.wait("the page again", || Ok(window.answers()?.contains(&answer).then_some(())))?;
    window.wait("the draft", || Ok((window.draft()? == "and what is").then_some(())))
}
