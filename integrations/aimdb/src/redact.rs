//! Removes passwords from error messages before they are sent to clients.
//!
//! The backends of this project keep passwords out of their messages; a third party's backend may
//! not, and a client of AimX need not be allowed to read the configuration.

const HIDDEN: &str = "***";

/// The keys of secrets in connection strings, in lower case.
const NAMES: [&str; 6] = ["password=", "passwd=", "pwd=", "secret=", "token=", "apikey="];

/// `message` with the passwords of URLs and of `key=value` settings hidden.
pub(crate) fn without_secrets(message: &str) -> String {
    // The white space stays in the words, so that the rest of the message is unchanged.
    message.split_inclusive(char::is_whitespace).map(hide_in_word).collect()
}

fn hide_in_word(word: &str) -> String {
    let mut hidden = hide_in_url(word);
    for name in NAMES {
        let mut from = 0;
        while let Some(at) = find_ignoring_case(&hidden[from..], name) {
            let start = from + at + name.len();
            let ends = |c: char| c.is_whitespace() || "&;,\"')".contains(c);
            let end = hidden[start..].find(ends).map_or(hidden.len(), |length| start + length);
            hidden.replace_range(start..end, HIDDEN);
            from = start + HIDDEN.len();
        }
    }
    hidden
}

fn hide_in_url(word: &str) -> String {
    let Some(authority) = word.find("://").map(|at| at + 3) else { return word.to_owned() };
    // A password may contain an unescaped @ or /, so the last @ ends it.
    let Some(at) = word[authority..].rfind('@').map(|at| authority + at) else {
        return word.to_owned();
    };
    match word[authority..at].find(':') {
        Some(colon) => {
            let user = &word[..authority + colon];
            format!("{user}:{HIDDEN}{}", &word[at..])
        }
        None => word.to_owned(),
    }
}

fn find_ignoring_case(text: &str, name: &str) -> Option<usize> {
    // ASCII lower-casing keeps byte positions.
    text.to_ascii_lowercase().find(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_hidden_and_the_rest_stays() {
        for (message, expected) in [
            ("store failed: disk full", "store failed: disk full"),
            (
                "no answer from \"postgres://me:s3c:r@t/x@db:5432/h\"\n",
                "no answer from \"postgres://me:***@db:5432/h\"\n",
            ),
            ("postgres://me@db/h", "postgres://me@db/h"),
            ("host=db user=me Password=hunter2 port=1", "host=db user=me Password=*** port=1"),
            ("https://x/?token=abc&pwd=def&n=1", "https://x/?token=***&pwd=***&n=1"),
            ("vienna: größe password=", "vienna: größe password=***"),
        ] {
            assert_eq!(without_secrets(message), expected);
        }
    }
}
