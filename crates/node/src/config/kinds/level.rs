//! How much is logged: the words of the system that this one replaces, and ours.

use tracing_subscriber::filter::{LevelFilter, Targets};

use super::Kind;

/// Level by level: the seed's seven words, `trace` and `off`. `http` was its word for a line a request, which is `debug` here.
const LEVELS: [(&str, LevelFilter); 9] = [
    ("off", LevelFilter::OFF),
    ("error", LevelFilter::ERROR),
    ("warn", LevelFilter::WARN),
    ("info", LevelFilter::INFO),
    ("http", LevelFilter::DEBUG),
    ("verbose", LevelFilter::DEBUG),
    ("debug", LevelFilter::DEBUG),
    ("silly", LevelFilter::TRACE),
    ("trace", LevelFilter::TRACE),
];

/// Our modules, by how their names begin.
const OURS: &str = "hubbub";
/// The most that is logged of libraries, whatever is asked for: beyond it they print what they carry, tokens and all.
const OTHERS_MAX: LevelFilter = LevelFilter::INFO;
/// Libraries whose `info` is for those who write them: of theirs only this, unless more than `info` is asked for. While a
/// server is away they would say so every second, and we say it once.
const QUIET: [(&str, LevelFilter); 3] =
    [("scylla", LevelFilter::OFF), ("async_nats", LevelFilter::OFF), ("lapin", LevelFilter::OFF)];

/// What operators do: logged whatever the level, for it is asked for when it is too late to ask for it.
const AUDIT: &str = "audit";

/// What is logged: a level, and other levels for some modules.
#[derive(Debug, Clone, PartialEq)]
pub struct LogFilter(pub(crate) Targets);

impl LogFilter {
    /// One level for all.
    pub fn level(level: LevelFilter) -> Self {
        let quiet = QUIET.into_iter().filter(|_| level == LevelFilter::INFO);
        let all = quiet.collect::<Targets>().with_default(level.min(OTHERS_MAX));
        Self(all.with_target(OURS, level).with_target(AUDIT, LevelFilter::INFO))
    }

    fn with(self, module: &str, level: LevelFilter) -> Self {
        let most = if module.starts_with(OURS) { level } else { level.min(OTHERS_MAX) };
        Self(self.0.with_target(module, most))
    }
}

/// A level, or a list such as `info,hubbub_gateway=debug`.
pub struct LogLevels;

impl Kind for LogLevels {
    type Value = LogFilter;

    fn parse(&self, text: &str) -> Option<LogFilter> {
        let level = |word: &str| {
            LEVELS.iter().find(|(name, _)| name.eq_ignore_ascii_case(word.trim())).map(|(_, level)| *level)
        };
        let (mut default, mut targets) = (LevelFilter::INFO, Vec::new());
        for part in text.split(',') {
            match part.split_once('=') {
                Some((module, word)) if !module.trim().is_empty() => {
                    targets.push((module.trim(), level(word)?));
                }
                Some(_) => return None,
                None => default = level(part)?,
            }
        }
        let all = LogFilter::level(default);
        Some(targets.into_iter().fold(all, |all, (module, level)| all.with(module, level)))
    }
    fn allowed(&self) -> String {
        let words: Vec<_> = LEVELS.iter().map(|(word, _)| *word).collect();
        format!("one of {}, or a list such as info,hubbub_gateway=debug", words.join(", "))
    }
    fn placeholder(&self) -> &'static str {
        "LEVEL"
    }
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn the_seeds_words_are_understood() {
        let seeds = ["error", "warn", "info", "http", "verbose", "debug", "silly"];
        let levels =
            [Level::ERROR, Level::WARN, Level::INFO, Level::DEBUG, Level::DEBUG, Level::DEBUG, Level::TRACE];
        for (word, level) in seeds.into_iter().zip(levels) {
            assert_eq!(LogLevels.parse(word), Some(LogFilter::level(level.into())), "{word}");
        }
    }

    #[test]
    fn a_module_may_have_its_own_level() {
        let filter = LogLevels.parse("warn, hubbub_gateway = silly").unwrap().0;
        assert!(filter.would_enable("hubbub_gateway::ws", &Level::TRACE));
        assert!(!filter.would_enable("hubbub_worker", &Level::INFO));
    }

    #[test]
    fn libraries_never_say_what_they_carry() {
        for most in ["silly", "info,lapin=trace", "lapin=debug"] {
            let filter = LogLevels.parse(most).unwrap().0;
            assert!(!filter.would_enable("lapin::channel", &Level::DEBUG), "{most}");
        }
        let filter = LogLevels.parse("silly").unwrap().0;
        assert!(filter.would_enable("hubbub::cluster", &Level::TRACE));
        assert!(filter.would_enable("lapin", &Level::INFO) && !filter.would_enable("h2", &Level::DEBUG));
    }

    #[test]
    fn what_operators_do_is_logged_at_every_level() {
        for least in ["off", "error", "warn,hubbub=off"] {
            assert!(LogLevels.parse(least).unwrap().0.would_enable("audit", &Level::INFO), "{least}");
        }
    }

    #[test]
    fn what_is_no_list_of_levels_is_not_taken() {
        for wrong in ["", "loud", "info,", "=info", "a=", "a=loud"] {
            assert!(LogLevels.parse(wrong).is_none(), "{wrong:?}");
        }
    }
}
