//! The languages whose numbers have a decimal comma.

use std::str::FromStr;

/// How a spreadsheet in some language reads numbers in CSV.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Locale {
    comma: bool,
}

/// By ISO 639, from the Unicode CLDR.
const DECIMAL_COMMA: [&str; 46] = [
    "af", "az", "be", "bg", "bs", "ca", "cs", "da", "de", "el", "es", "et", "eu", "fi", "fo", "fr",
    "gl", "hr", "hu", "hy", "id", "is", "it", "ka", "kk", "ky", "lb", "lt", "lv", "mk", "mn", "nb",
    "nl", "nn", "no", "pl", "pt", "ro", "ru", "sk", "sl", "sq", "sr", "sv", "tr", "uk",
];

/// Regions that write a point in one of these languages.
const DECIMAL_POINT: [&str; 13] = [
    "de_ch", "de_li", "it_ch", "es_mx", "es_us", "es_pr", "es_gt", "es_hn", "es_ni", "es_pa",
    "es_pe", "es_sv", "es_do",
];

impl Locale {
    /// The locale of the environment.
    pub(crate) fn of_environment() -> Self {
        let set = |name: &&str| std::env::var(name).is_ok_and(|value| !value.is_empty());
        let name = ["LC_ALL", "LC_NUMERIC", "LANG"].into_iter().find(set);
        let value = name.and_then(|name| std::env::var(name).ok());
        value.and_then(|value| value.parse().ok()).unwrap_or(Self { comma: false })
    }

    pub(crate) fn decimal_point(self) -> char {
        if self.comma { ',' } else { '.' }
    }

    /// What separates cells: where numbers have commas, a comma cannot.
    pub(crate) fn separator(self) -> u8 {
        if self.comma { b';' } else { b',' }
    }
}

impl FromStr for Locale {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let name = text.split(['.', '@']).next().unwrap_or_default();
        let name = name.replace('-', "_").to_ascii_lowercase();
        let language = name.split('_').next().unwrap_or_default();
        let known = (2..=3).contains(&language.len()) || matches!(language, "c" | "posix");
        if !known || !language.bytes().all(|byte| byte.is_ascii_alphabetic()) {
            return Err("write a language such as de, de_AT or en_US".to_owned());
        }
        let comma = DECIMAL_COMMA.contains(&language) && !DECIMAL_POINT.contains(&name.as_str());
        Ok(Self { comma })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_language_and_its_region_say_what_the_decimal_sign_is() {
        let sign = |name: &str| name.parse::<Locale>().unwrap().decimal_point();
        for name in ["de", "de_AT.UTF-8", "fr-FR", "pt_BR", "nl_NL@euro", "es_ES"] {
            assert_eq!(sign(name), ',', "{name}");
        }
        for name in ["en_US.UTF-8", "C", "POSIX", "de_CH", "ja_JP", "es-MX", "C.UTF-8"] {
            assert_eq!(sign(name), '.', "{name}");
        }
        assert!("german".parse::<Locale>().is_err());
        assert!("".parse::<Locale>().is_err());
    }
}
