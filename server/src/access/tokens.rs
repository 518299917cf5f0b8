//! The file of tokens: who has which rights, and the hashes that tell who it is.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;
use std::{fmt, fs, io};

use annals_core::bytes::{from_hexadecimal, hexadecimal};
use annals_core::{Grammar, Pattern};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::client::Known;
use super::grants::{Grants, Scope};
use super::quota::{Quota, TokenLimits};

/// What tokens begin with, so that scanners for leaked secrets can find them.
const PREFIX: &str = "annals_";
/// 256 bits of chance cannot be guessed, so that a fast hash is enough.
const SECRET_BYTES: usize = 32;

/// What a token may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Right {
    /// Query the matching records.
    Read,
    /// Store rows of the matching records.
    Write,
    /// Erase rows of the matching records.
    Erase,
    /// See the state of the server: `/metrics` and `/v1/status`. The pattern has no meaning.
    Admin,
}

/// Rights on the records that a pattern matches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// The rights.
    pub rights: Vec<Right>,
    /// The records.
    #[serde(default = "every_record")]
    pub pattern: String,
    /// `glob` or `topic`.
    #[serde(default)]
    pub grammar: GrammarName,
}

fn every_record() -> String {
    "*".to_owned()
}

/// The grammar of a pattern in the file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum GrammarName {
    /// `*` is any run of characters.
    #[default]
    Glob,
    /// Segments between dots.
    Topic,
}

impl From<GrammarName> for Grammar {
    fn from(name: GrammarName) -> Self {
        match name {
            GrammarName::Glob => Self::Glob,
            GrammarName::Topic => Self::Topic,
        }
    }
}

/// One token of the file. The token itself is nowhere, only its hash.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenEntry {
    /// What the log calls it.
    pub name: String,
    /// The SHA-256 of the token, in hexadecimal digits.
    pub sha256: String,
    /// What it may do.
    pub grants: Vec<Grant>,
    /// How much it may do.
    #[serde(default)]
    pub limits: TokenLimits,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    tokens: Vec<TokenEntry>,
}

/// The file cannot be used.
#[derive(Debug, Clone)]
pub struct TokensError {
    path: PathBuf,
    reason: String,
}

impl fmt::Display for TokensError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the tokens in {}: {}", self.path.display(), self.reason)
    }
}

impl std::error::Error for TokensError {}

/// A token that was made just now.
pub struct NewToken(String);

impl NewToken {
    /// The token. It is told here and nowhere else.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for NewToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NewToken(…)")
    }
}

/// The tokens of a file, which is read again when it changes. Clones share what they know.
#[derive(Debug, Clone)]
pub struct Tokens(Arc<Watched>);

#[derive(Debug)]
struct Watched {
    path: PathBuf,
    loaded: Mutex<Loaded>,
}

#[derive(Debug)]
struct Loaded {
    stamp: Option<Stamp>,
    tokens: Vec<Token>,
}

/// What tells that a file has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    length: u64,
}

#[derive(Debug)]
struct Token {
    hash: [u8; 32],
    limits: TokenLimits,
    known: Arc<Known>,
}

impl Tokens {
    /// Reads the tokens of a file.
    ///
    /// # Errors
    /// The file cannot be read, or says something that has no meaning.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, TokensError> {
        let path = path.into();
        let stamp = stamp(&path);
        let tokens = load(&path, &[])?;
        Ok(Self(Arc::new(Watched { path, loaded: Mutex::new(Loaded { stamp, tokens }) })))
    }

    /// Makes a token and adds it to a file, which is created if there is none.
    ///
    /// # Errors
    /// The file cannot be read or written, the name is taken, or a pattern has no meaning.
    pub fn add(
        path: &Path,
        name: &str,
        grants: Vec<Grant>,
        limits: TokenLimits,
    ) -> Result<NewToken, TokensError> {
        let failed = |reason: String| TokensError { path: path.to_owned(), reason };
        let mut file = match fs::read(path) {
            Ok(bytes) => parse(path, &bytes)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => File::default(),
            Err(error) => return Err(failed(error.to_string())),
        };
        let mut secret = [0; SECRET_BYTES];
        getrandom::fill(&mut secret).map_err(|error| failed(error.to_string()))?;
        let token = NewToken(format!("{PREFIX}{}", hexadecimal(&secret)));
        let sha256 = hexadecimal(&Sha256::digest(&token.0));
        file.tokens.push(TokenEntry { name: name.to_owned(), sha256, grants, limits });
        checked(path, &file, &[])?;
        let text =
            serde_json::to_string_pretty(&file).map_err(|error| failed(error.to_string()))?;
        replace(path, &format!("{text}\n")).map_err(|error| failed(error.to_string()))?;
        Ok(token)
    }

    /// The client with this token.
    ///
    /// Every hash is compared to the end, so that the time tells nothing about any.
    pub(crate) fn find(&self, token: &str) -> Option<Arc<Known>> {
        let hash: [u8; 32] = Sha256::digest(token).into();
        let mut loaded = self.0.loaded.lock();
        self.0.refresh(&mut loaded);
        let mut found = None;
        for token in &loaded.tokens {
            if bool::from(token.hash.ct_eq(&hash)) {
                found = Some(&token.known);
            }
        }
        found.cloned()
    }
}

impl Watched {
    /// Reads the file again if it has changed. What cannot be read leaves everything as it was: a
    /// slip of the editor must lock nobody out, and let nobody in.
    fn refresh(&self, loaded: &mut Loaded) {
        let stamp = stamp(&self.path);
        if stamp == loaded.stamp {
            return;
        }
        loaded.stamp = stamp;
        match load(&self.path, &loaded.tokens) {
            Ok(tokens) => {
                tracing::info!(tokens = tokens.len(), "the tokens were read again");
                loaded.tokens = tokens;
            }
            Err(error) => tracing::error!(%error, "the tokens stay as they were"),
        }
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = fs::metadata(path).ok()?;
    Some(Stamp { modified: metadata.modified().ok(), length: metadata.len() })
}

fn load(path: &Path, before: &[Token]) -> Result<Vec<Token>, TokensError> {
    let bytes = fs::read(path)
        .map_err(|error| TokensError { path: path.to_owned(), reason: error.to_string() })?;
    checked(path, &parse(path, &bytes)?, before)
}

fn parse(path: &Path, bytes: &[u8]) -> Result<File, TokensError> {
    serde_json::from_slice(bytes)
        .map_err(|error| TokensError { path: path.to_owned(), reason: error.to_string() })
}

/// What the file means. A token that was there before keeps the account of its use.
fn checked(path: &Path, file: &File, before: &[Token]) -> Result<Vec<Token>, TokensError> {
    let mut tokens: Vec<Token> = Vec::with_capacity(file.tokens.len());
    for entry in &file.tokens {
        let failed = |reason: String| TokensError { path: path.to_owned(), reason };
        let name = &entry.name;
        if name.is_empty() || name.len() > 100 || name.chars().any(char::is_control) {
            return Err(failed(format!(
                "{name:?} is no name: 1 to 100 bytes without control characters"
            )));
        }
        if tokens.iter().any(|token| *token.known.name == **name) {
            return Err(failed(format!("there are two tokens with the name {name:?}")));
        }
        let hash = from_hexadecimal(&entry.sha256)
            .and_then(|hash| hash.try_into().ok())
            .ok_or_else(|| failed(format!("sha256 of {name:?} is not 64 hexadecimal digits")))?;
        let limits = entry.limits;
        if limits.rows_per_second.is_some_and(|rate| !rate.is_finite() || rate <= 0.0) {
            return Err(failed(format!("rows_per_second of {name:?} must be above 0")));
        }
        for (limit, is_zero) in [
            ("rows_per_answer", limits.rows_per_answer == Some(0)),
            ("concurrent_queries", limits.concurrent_queries == Some(0)),
        ] {
            if is_zero {
                return Err(failed(format!("{limit} of {name:?} must be above 0")));
            }
        }
        let grants = grants(entry).map_err(|reason| failed(format!("{name:?}: {reason}")))?;
        let same = |token: &&Token| *token.known.name == **name && token.limits == limits;
        let quota = before.iter().find(same).map(|token| token.known.quota.clone());
        let quota = quota.unwrap_or_else(|| Arc::new(Quota::new(limits)));
        let known = Arc::new(Known { name: name.as_str().into(), grants, quota });
        tokens.push(Token { hash, limits, known });
    }
    Ok(tokens)
}

fn grants(entry: &TokenEntry) -> Result<Grants, String> {
    let mut grants = Grants::default();
    for Grant { rights, pattern, grammar } in &entry.grants {
        let pattern =
            Pattern::new(pattern, (*grammar).into()).map_err(|error| error.to_string())?;
        for right in rights {
            let scope: &mut Scope = match right {
                Right::Read => &mut grants.read,
                Right::Write => &mut grants.write,
                Right::Erase => &mut grants.erase,
                Right::Admin => {
                    grants.admin = true;
                    continue;
                }
            };
            scope.add(pattern.clone());
        }
    }
    Ok(grants)
}

/// Replaces a file at once: a server reads the old text or the new one. Nobody else may read it.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, path)
}
