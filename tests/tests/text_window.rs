//! Rendered Markdown in the real window: code, formulas, footnotes, links and copying.

#![cfg(target_os = "linux")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use lilims_store::{ConversationChange, NewMessage, Role, Store};
use lilims_tests::app_window::{AppWindow, SIZES, Start, wait};
use serde_json::{Value, json};

/// Everything that is typeset, in the length of one window.
const SAMPLE: &str = r#"A **binary search** halves the interval in each step[^1], so it needs $\lceil \log_2 n \rceil$ comparisons at most. A plan costs $5 to $10, never \(x\) dollars.

```rust
/// The position of `wanted` in a sorted slice.
fn find(items: &[u32], wanted: u32) -> Option<usize> {
    let (mut low, mut high) = (0, items.len()); // half open
    while low < high {
        let middle = low + (high - low) / 2;
        match items[middle].cmp(&wanted) {
            Ordering::Equal => return Some(middle),
            Ordering::Less => low = middle + 1,
            _ => high = middle,
        }
    }
    None
}
```

The roots of a quadratic equation and the normal distribution:

$$x_{1,2} = \frac{-b \pm \sqrt{b^2 - 4ac}}{2a}, \qquad \int_{-\infty}^{\infty} e^{-x^2}\,dx = \sqrt{\pi}$$

\[
A = \begin{pmatrix} a_{11} & a_{12} \\ a_{21} & a_{22} \end{pmatrix}, \quad
f(x) = \begin{cases} x^2 & x \ge 0 \\ -x & \text{otherwise} \end{cases}, \quad
\boxed{\sum_{k=1}^{n} k = \frac{n(n+1)}{2}}
\]

| Algorithm | Best | Average | Worst | Memory |
| :-- | :-: | :-: | :-: | --: |
| Quicksort | $n \log n$ | $n \log n$ | $n^2$ | 4 KB |
| Merge sort | $n \log n$ | $n \log n$ | $n \log n$ | 16 KB |

- [x] sorted input
- [ ] duplicates[^dup]

See [the documentation](https://docs.example/search?q=1#top) or [bank.example](https://evil.example/bank).

[^1]: As long as the slice is *sorted*.
[^dup]: Any of the equal elements may be found.
"#;

/// Opens the app with one answer, and with a browser that writes addresses to a file.
fn open(home: &Path, answer: &str, is_dark: bool) -> Result<(AppWindow, PathBuf)> {
    let store = Store::open(home)?;
    let conversation = store.create_conversation(&ConversationChange::default())?;
    let question =
        NewMessage::text(&conversation, None, Role::User, "How does binary search work?");
    let question = store.add_message(&question)?;
    store.add_message(&NewMessage::text(
        &conversation,
        Some(&question),
        Role::Assistant,
        answer,
    ))?;
    drop(store);
    let (browser, opened) = (home.join("browser"), home.join("opened"));
    fs::write(&browser, format!("#!/bin/sh\nprintf '%s\\n' \"$1\" >> '{}'\n", opened.display()))?;
    fs::set_permissions(&browser, fs::Permissions::from_mode(0o755))?;
    let browser = browser.to_str().context("the path is not UTF-8")?;
    let variables = [("LILIMS_BROWSER", browser)];
    let start = Start { home: Some(home), is_dark, variables: &variables, ..Start::default() };
    let window = AppWindow::open(start)?;
    window.wait_for("answer-text")?;
    wait_until(
        &window,
        "formulas",
        "document.querySelector('.math:not(.drawn, .failed)') === null",
    )?;
    let script = "document.querySelector('figure.code:not(.highlighted)') === null";
    wait_until(&window, "colours", script)?;
    Ok((window, opened))
}

fn wait_until(window: &AppWindow, what: &str, condition: &str) -> Result<()> {
    let script = format!("return {condition}");
    window
        .wait(what, || Ok((window.session().run(&script, &[])? == Value::Bool(true)).then_some(())))
}

#[test]
fn code_formulas_tables_and_footnotes_are_typeset() -> Result<()> {
    for (theme, is_dark) in [("light", false), ("dark", true)] {
        let home = tempfile::tempdir()?;
        let (window, _) = open(home.path(), SAMPLE, is_dark)?;
        let run = |script: &str| window.session().run(script, &[]);
        let count = |selector: &str| {
            let script = "return document.querySelectorAll(arguments[0]).length";
            window.session().run(script, &[json!(selector)])
        };
        ensure!(count(".prose .math.failed")? == 0, "a formula was not drawn");
        ensure!(count(".prose .math.drawn.display > math[display=block]")? == 2);
        ensure!(count("figure.code .c-keyword")?.as_u64() > Some(5), "no keyword has a colour");
        ensure!(count(".prose input[type=checkbox]")? == 2 && count(".prose .notes li")? == 2);
        let font =
            run("return document.fonts.load('16px \"STIX Two Math\"').then(it => it.length)")?;
        ensure!(font == 1, "the font of formulas was not loaded: {font}");
        for size in SIZES {
            run("document.querySelector('.conversation').scrollTop = 0")?;
            window.save_screenshot(&format!("text-top-{theme}"), size)?;
            run("document.querySelector('.conversation').scrollTop = 1e6")?;
            window.save_screenshot(&format!("text-end-{theme}"), size)?;
            let script = "const it = document.querySelector('.conversation');
                return it.scrollWidth <= it.clientWidth";
            ensure!(run(script)? == true, "the page is wider than the window at {size:?}");
        }
    }
    Ok(())
}

#[test]
fn links_show_where_they_go_and_open_in_the_browser() -> Result<()> {
    let home = tempfile::tempdir()?;
    let (window, opened) = open(home.path(), SAMPLE, false)?;
    let run = |script: &str| window.session().run(script, &[]);
    let location = run("return location.href")?;
    let link = |index: usize, action: &str| {
        run(&format!("document.querySelectorAll('.prose a')[{index}].{action}()"))
    };
    link(0, "focus")?;
    window.wait("the address", || {
        let shown = window.text("link-bar")?.unwrap_or_default().replace('\n', "");
        Ok((shown == "https://docs.example/search?q=1#top").then_some(()))
    })?;
    link(0, "click")?;
    let addresses = |n: usize| {
        wait("the browser", || {
            let text = fs::read_to_string(&opened).unwrap_or_default();
            let lines: Vec<String> = text.lines().map(str::to_owned).collect();
            Ok((lines.len() == n).then_some(lines))
        })
    };
    ensure!(addresses(1)? == ["https://docs.example/search?q=1#top"]);
    // The text promises another address, so it is asked first.
    link(1, "click")?;
    window.wait_for("link-dialog")?;
    let shown = window.text("link-dialog-address")?.unwrap_or_default().replace('\n', "");
    ensure!(shown == "https://evil.example/bank", "the dialog shows {shown:?}");
    for size in SIZES {
        window.save_screenshot("link-dialog", size)?;
    }
    window.click("link-open")?;
    ensure!(addresses(2)?[1] == "https://evil.example/bank");
    ensure!(!window.exists("link-dialog")? && run("return location.href")? == location);
    Ok(())
}

#[test]
fn footnotes_lead_to_their_text_and_back() -> Result<()> {
    let home = tempfile::tempdir()?;
    let (window, _) = open(home.path(), SAMPLE, false)?;
    let run = |script: &str| window.session().run(script, &[]);
    let location = run("return location.href")?;
    run("document.querySelectorAll('.note-ref')[1].click()")?;
    ensure!(run("return document.activeElement.innerText.includes('equal elements')")? == true);
    run("document.activeElement.querySelector('.note-back').click()")?;
    ensure!(
        run("return document.activeElement.className + document.activeElement.innerText")?
            == "note-ref2"
    );
    ensure!(run("return location.href")? == location);
    Ok(())
}

#[test]
fn code_wraps_and_answers_are_copied_in_three_ways() -> Result<()> {
    let home = tempfile::tempdir()?;
    let (window, _) = open(home.path(), SAMPLE, false)?;
    let run = |script: &str| window.session().run(script, &[]);
    let style = "return getComputedStyle(document.querySelector('figure.code pre')).whiteSpace";
    ensure!(run(style)? == "pre");
    run("document.querySelector('.wrap-code').click()")?;
    ensure!(run(style)? == "pre-wrap");
    ensure!(
        run("return document.querySelector('.wrap-code').getAttribute('aria-pressed')")? == "true"
    );

    // What is on the clipboard is pasted into the message field.
    let pasted = || {
        run("document.querySelector('[data-testid=composer-input]').value = ''")?;
        // The Control key stays pressed until the null key.
        window.type_into("composer-input", "\u{E009}v\u{E000}")?;
        window.wait("the pasted text", || {
            let text = run("return document.querySelector('[data-testid=composer-input]').value")?;
            Ok(text.as_str().filter(|text| !text.is_empty()).map(str::to_owned))
        })
    };
    window.click("copy")?;
    ensure!(pasted()?.trim() == SAMPLE.trim(), "the Markdown was not copied");
    open_menu(&window)?;
    window.wait_for("menu")?;
    window.save_screenshot("copy-menu", SIZES[0])?;
    window.click("copy-plain")?;
    let plain = pasted()?;
    ensure!(plain.starts_with("A binary search halves") && !plain.contains("```"), "{plain}");
    open_menu(&window)?;
    window.click("copy-rich")?;
    let rich = pasted()?;
    ensure!(rich.starts_with("A binary search halves"), "{rich}");

    // A selection with a formula has its LaTeX.
    run("const paragraph = document.querySelector('.prose p');
        getSelection().selectAllChildren(paragraph)")?;
    // The Control key stays pressed until the null key.
    let session = window.session();
    session.send_keys(&session.find(".conversation")?, "\u{E009}c\u{E000}")?;
    let selected = pasted()?;
    ensure!(selected.contains(r"$\lceil \log_2 n \rceil$ comparisons"), "{selected}");
    Ok(())
}

/// Opens the menu of the answer, which comes after that of its question.
fn open_menu(window: &AppWindow) -> Result<()> {
    let script = "const all = document.querySelectorAll('[data-testid=more]');
        all[all.length - 1].click()";
    window.session().run(script, &[]).map(drop)
}
