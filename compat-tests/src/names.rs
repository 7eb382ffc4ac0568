//! The names that stand for what differs from run to run: zxids, sessions, times, the root node.
//!
//! Transactions are numbered from the start of the script: `z1` is the first one. After the n-th
//! restart of the server they carry n primes and start at `z1'` again, because a server may begin
//! a new epoch when it starts. A session is called like the client that opened it.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};

/// Zxids that a script may reach; more would be a mistake.
const TRANSACTIONS_MAX: i64 = 100_000;

/// A stretch between two starts of the server.
#[derive(Debug)]
struct Era {
    /// The zxid that is called `z0`.
    base: i64,
    /// The highest zxid that was seen before.
    seen_before: i64,
}

/// A session that some client was given.
#[derive(Debug)]
pub struct KnownSession {
    /// Its number on the wire.
    pub id: i64,
    /// Its password.
    pub password: Vec<u8>,
    /// The client that opened it, with a prime if that one had opened another before.
    pub name: String,
}

/// What the names of one script stand for.
#[derive(Debug)]
pub struct Names {
    root: String,
    eras: Vec<Era>,
    now: i64,
    sessions: Vec<KnownSession>,
    times: BTreeMap<i64, i64>,
}

impl Names {
    /// Names below `root`, before the first transaction after `base`.
    pub fn new(root: &str, base: i64) -> Names {
        Names {
            root: root.to_owned(),
            eras: vec![Era { base, seen_before: i64::MIN }],
            now: base,
            sessions: Vec::new(),
            times: BTreeMap::new(),
        }
    }

    /// The root node.
    pub fn root(&self) -> &str {
        &self.root
    }

    /// The server was started again and its last zxid is `base`.
    pub fn restarted(&mut self, base: i64) {
        self.eras.push(Era { base, seen_before: self.now });
        self.now = base;
    }

    /// A reply's header carried `zxid`.
    pub fn saw_zxid(&mut self, zxid: i64) {
        self.now = self.now.max(zxid);
    }

    /// `text` with the root node in place of `~`.
    pub fn path(&self, text: &str) -> String {
        text.replace('~', &self.root)
    }

    /// `text` with `~` in place of the root node's path or name.
    pub fn shorten(&self, text: &str) -> String {
        if self.root.strip_prefix('/') == Some(text) {
            return "~".to_owned();
        }
        if self.root.is_empty() { text.to_owned() } else { text.replace(&self.root, "~") }
    }

    /// What `zxid` is called.
    pub fn zxid_name(&self, zxid: i64) -> String {
        if zxid == 0 || zxid == -1 {
            return zxid.to_string();
        }
        let mut eras = self.eras.iter().enumerate().rev();
        let Some((primes, era)) = eras.find(|(_, era)| zxid > era.seen_before) else {
            return "older".to_owned();
        };
        match zxid.saturating_sub(era.base) {
            number @ -1..TRANSACTIONS_MAX => format!("z{number}{}", "'".repeat(primes)),
            ..-1 => "older".to_owned(),
            _ => format!("0x{zxid:x}"),
        }
    }

    /// The zxid that `name` stands for: `z3`, `z3'`, `now`, a number, with `+1` or `-1` behind.
    ///
    /// # Errors
    ///
    /// The name stands for nothing.
    pub fn zxid_value(&self, name: &str) -> Result<i64> {
        let bad = || format!("no zxid is called '{name}'");
        if let Ok(number) = name.parse() {
            return Ok(number);
        }
        let split = name.find(['+', '-']).unwrap_or(name.len());
        let (name_only, offset) = name.split_at_checked(split).with_context(bad)?;
        let offset: i64 = if offset.is_empty() { 0 } else { offset.parse().with_context(bad)? };
        if name_only == "now" {
            return Ok(self.now + offset);
        }
        let digits = name_only.strip_prefix('z').with_context(bad)?;
        let number = digits.trim_end_matches('\'');
        let era = self.eras.get(digits.len() - number.len()).with_context(bad)?;
        Ok(era.base + number.parse::<i64>().with_context(bad)? + offset)
    }

    /// Client `client` was given the session `id`; tells whether it is a new one.
    pub fn saw_session(&mut self, client: &str, id: i64, password: &[u8]) -> bool {
        if self.sessions.iter().any(|session| session.id == id) {
            return false;
        }
        let mut name = client.to_owned();
        while self.sessions.iter().any(|session| session.name == name) {
            name.push('\'');
        }
        self.sessions.push(KnownSession { id, password: password.to_vec(), name });
        true
    }

    /// Every session that was given to a client of this script.
    pub fn sessions(&self) -> &[KnownSession] {
        &self.sessions
    }

    /// The session called `name`.
    ///
    /// # Errors
    ///
    /// No session is called so.
    pub fn session(&self, name: &str) -> Result<&KnownSession> {
        self.sessions
            .iter()
            .find(|session| session.name == name)
            .with_context(|| format!("no session is called '{name}'"))
    }

    /// What the session `id` is called.
    pub fn session_name(&self, id: i64) -> String {
        match self.sessions.iter().find(|session| session.id == id) {
            Some(session) => session.name.clone(),
            None if id == 0 => "0".to_owned(),
            None => "stranger".to_owned(),
        }
    }

    /// `t` if `time_ms` can be the time of the transaction `zxid`: each transaction has one time,
    /// and later ones are not earlier.
    pub fn time_name(&mut self, zxid: i64, time_ms: i64) -> String {
        match self.check_time(zxid, time_ms) {
            Ok(()) if time_ms == 0 => "0".to_owned(),
            Ok(()) => "t".to_owned(),
            Err(error) => format!("{time_ms}({error})"),
        }
    }

    fn check_time(&mut self, zxid: i64, time_ms: i64) -> Result<()> {
        if zxid == 0 && time_ms == 0 {
            return Ok(());
        }
        if zxid <= 0 || time_ms <= 0 {
            bail!("of no transaction");
        }
        let known = *self.times.entry(zxid).or_insert(time_ms);
        if known != time_ms {
            bail!("was {known}");
        }
        if let Some((_, before)) = self.times.range(..zxid).next_back()
            && *before > time_ms
        {
            bail!("earlier than the transaction before, {before}");
        }
        if let Some((_, after)) = self.times.range(zxid + 1..).next()
            && *after < time_ms
        {
            bail!("later than the transaction after, {after}");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zxids_are_numbered_from_the_start_of_the_script() {
        let names = Names::new("/r", 1000);

        assert_eq!(names.zxid_name(1003), "z3");
        assert_eq!(names.zxid_name(999), "z-1");
        assert_eq!(names.zxid_name(5), "older");
        assert_eq!(names.zxid_name(0), "0");
        assert_eq!(names.zxid_name(-1), "-1");
        assert_eq!(names.zxid_name(0x1_0000_0000), "0x100000000");
        assert_eq!(names.zxid_value("z3").unwrap(), 1003);
        assert_eq!(names.zxid_value("z3-1").unwrap(), 1002);
        assert_eq!(names.zxid_value("now+1").unwrap(), 1001);
        assert_eq!(names.zxid_value("-7").unwrap(), -7);
        assert!(names.zxid_value("y3").is_err());
    }

    #[test]
    fn a_restart_begins_a_new_count_even_in_a_new_epoch() {
        let mut names = Names::new("/r", 10);
        names.saw_zxid(12);

        names.restarted(0x1_0000_0002);

        assert_eq!(names.zxid_name(12), "z2");
        assert_eq!(names.zxid_name(0x1_0000_0003), "z1'");
        assert_eq!(names.zxid_value("z1'").unwrap(), 0x1_0000_0003);
    }

    #[test]
    fn a_session_is_called_like_the_client_that_opened_it() {
        let mut names = Names::new("/r", 10);
        assert!(names.saw_session("s1", 7, b"p"));
        assert!(!names.saw_session("s2", 7, b"p"));
        assert!(names.saw_session("s1", 8, b"q"));

        assert_eq!(names.session_name(7), "s1");
        assert_eq!(names.session_name(8), "s1'");
        assert_eq!(names.session_name(9), "stranger");
        assert_eq!(names.session("s1'").unwrap().password, b"q");
    }

    #[test]
    fn a_transaction_has_one_time_and_times_do_not_run_back() {
        let mut names = Names::new("/r", 10);
        assert_eq!(names.time_name(11, 500), "t");
        assert_eq!(names.time_name(11, 500), "t");
        assert_eq!(names.time_name(12, 500), "t");
        assert_eq!(names.time_name(11, 501), "501(was 500)");
        assert!(names.time_name(13, 499).contains("earlier"));
        assert!(names.time_name(9, 900).contains("later"));
        assert_eq!(names.time_name(0, 0), "0", "a node that no transaction created");
        assert_eq!(names.time_name(0, 5), "5(of no transaction)");
    }
}
