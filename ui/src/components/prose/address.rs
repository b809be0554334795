//! Addresses of links: how they are shown, and whether their text promises another one.

/// The address that a link leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    /// What stands before the host, such as `https://`.
    pub(super) before: String,
    /// The host, or the mail address's; names in other scripts in their encoded form.
    pub(super) host: String,
    /// What follows it.
    pub(super) after: String,
}

impl Address {
    /// Splits a normalized address, as browsers give it: ASCII, with the host in its encoded form.
    pub(super) fn of(href: &str) -> Self {
        let (scheme, rest) = href.split_once(':').unwrap_or(("", href));
        let is_mail = scheme.eq_ignore_ascii_case("mailto");
        let rest_start = scheme.len() + 1 + if rest.starts_with("//") { 2 } else { 0 };
        let rest = href.get(rest_start..).unwrap_or_default();
        let authority_end = rest.find(if is_mail { &['?'][..] } else { &['/', '?', '#'][..] });
        let authority_end = authority_end.unwrap_or(rest.len());
        let host_start = rest[..authority_end].rfind('@').map_or(0, |at| at + 1);
        Self {
            before: href[..rest_start.min(href.len()) + host_start].to_owned(),
            host: rest[host_start..authority_end].to_owned(),
            after: rest[authority_end..].to_owned(),
        }
    }

    /// The whole address.
    pub(super) fn whole(&self) -> String {
        format!("{}{}{}", self.before, self.host, self.after)
    }

    /// Whether a reader of the link's text may expect to get somewhere else.
    pub(super) fn is_surprising(&self, text: &str) -> bool {
        let host = self.host.to_ascii_lowercase();
        let is_mail = self.before.to_ascii_lowercase().starts_with("mailto:");
        // `https://bank.example@evil.example` and names in other scripts, whose letters look alike.
        if !is_mail && self.before.contains('@')
            || host.split('.').any(|part| part.starts_with("xn--"))
        {
            return true;
        }
        let promised = promised_host(text);
        let bare = |host: &str| host.strip_prefix("www.").unwrap_or(host).to_owned();
        promised.is_some_and(|promised| {
            let promised = bare(&promised);
            let host = bare(host.split(':').next().unwrap_or_default());
            host != promised && !host.ends_with(&format!(".{promised}"))
        })
    }
}

/// The host of the first address that the text names.
fn promised_host(text: &str) -> Option<String> {
    text.split_whitespace().find_map(|word| {
        // Invisible characters are not what a reader sees.
        let is_visible = |c: &char| c.is_alphanumeric() || "-._~:/?#@%&=+".contains(*c);
        let word: String = word.chars().filter(is_visible).collect::<String>().to_lowercase();
        let word = word.trim_matches(|c: char| !c.is_alphanumeric());
        let word = word.split_once("://").map_or(word, |(_, rest)| rest);
        let word = word.strip_prefix("mailto:").unwrap_or(word);
        let word = word.split(['/', '?', '#']).next().unwrap_or_default();
        let word = word.rsplit('@').next().unwrap_or_default();
        let host = word.split(':').next().unwrap_or_default();
        let (name, top) = host.rsplit_once('.')?;
        let is_host = top.chars().count() >= 2
            && top.chars().all(char::is_alphabetic)
            && name.chars().any(char::is_alphanumeric);
        is_host.then(|| host.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_split_at_their_host() {
        let parts = |href: &str| {
            let Address { before, host, after } = Address::of(href);
            assert_eq!(format!("{before}{host}{after}"), href);
            (before, host, after)
        };
        let own = |before: &str, host: &str, after: &str| {
            (before.to_owned(), host.to_owned(), after.to_owned())
        };
        assert_eq!(parts("https://a.example/b?c#d"), own("https://", "a.example", "/b?c#d"));
        assert_eq!(parts("http://u:p@a.example:8?x"), own("http://u:p@", "a.example:8", "?x"));
        assert_eq!(
            parts("mailto:me@a.example?subject=b"),
            own("mailto:me@", "a.example", "?subject=b")
        );
        assert_eq!(parts("https://[::1]:80/"), own("https://", "[::1]:80", "/"));
        assert_eq!(parts(""), own("", "", ""));
    }

    #[test]
    fn texts_that_promise_another_address_are_noticed() {
        for (text, href) in [
            ("https://bank.example", "https://evil.example/"),
            ("bank.example", "https://bank.example.evil.example/"),
            ("see www.bank.example/login now", "https://evil.example/bank.example"),
            ("ba\u{200b}nk.example", "https://evil.example/"),
            ("click", "https://bank.example@evil.example/"),
            ("bаnk.example", "https://xn--bnk-7cd.example/"),
            ("click", "https://xn--bnk-7cd.example/"),
            ("me@bank.example", "mailto:me@evil.example"),
            ("https://bank.example", "mailto:me@evil.example"),
        ] {
            assert!(Address::of(href).is_surprising(text), "{text} {href}");
        }
        for (text, href) in [
            ("https://a.example/b", "https://a.example/b"),
            ("a.example", "https://www.a.example/"),
            ("www.a.example", "https://a.example/x"),
            ("a.example", "https://docs.a.example/"),
            ("A.Example.", "http://a.example:8080/"),
            ("the documentation", "https://a.example/"),
            ("version 1.2", "https://a.example/"),
            ("e.g. this", "https://a.example/"),
            ("me@a.example", "mailto:me@a.example"),
            ("write to us", "mailto:me@a.example?subject=x"),
        ] {
            assert!(!Address::of(href).is_surprising(text), "{text} {href}");
        }
    }
}
