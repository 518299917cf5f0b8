//! Messages of backends, made fit for clients.
//!
//! The backends of this project keep passwords out of their messages. A third party's need not, and
//! who may ask over AimX is not who may read the configuration.

const HIDDEN: &str = "***";

/// What stands before a secret in connection strings, in small letters.
const NAMES: [&str; 6] = ["password=", "passwd=", "pwd=", "secret=", "token=", "apikey="];

/// `message` with the passwords of URLs and of `key=value` settings hidden.
pub(crate) fn without_secrets(message: &str) -> String {
    // Words keep what is between them: the message stays as it was otherwise.
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
    // A password may hold an unescaped @ or /: the last @ ends it.
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
    // ASCII lowering keeps every byte's place.
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
