//! What is read, and what is refused.

use proptest::prelude::*;

use super::*;
use crate::State;

#[test]
fn an_empty_file_has_the_defaults_of_its_tables() {
    let file = read("");
    let Server { hosts, timeout, max_body, workers, pace, password_env, limits } = file.server;
    assert_eq!((hosts.len(), timeout.value, max_body.value), (0, Duration::from_secs(15), Size(4 << 20)));
    assert_eq!((workers.value, pace.value, password_env.value, limits.requests.value), (0, Pace::Slow, None, 60));
    assert_eq!((timeout.place.key.as_str(), timeout.place.state), ("server.timeout", State::Absent));
    assert!(file.routes.is_empty() && file.trace.is_none());
}

#[test]
fn what_is_written_is_read_with_its_place() {
    let file = read(
        "[server]\nhosts = [\n\"a\",\n\"b\"]\npace = \"fast\"\n[[routes]]\nname = \"x\"\n[[routes]]\nname = \"y\"\n[trace]",
    );
    let places: Vec<_> = file.server.hosts.iter().map(|host| (host.place.key.as_str(), host.place.line)).collect();
    assert_eq!(places, [("server.hosts[0]", Some(3)), ("server.hosts[1]", Some(4))]);
    assert_eq!(file.server.pace.value, Pace::Fast);
    assert_eq!(file.routes[1].name.place.key, "routes[1].name");
    assert!(file.trace.is_some_and(|trace| trace.all.value));
}

#[test]
fn every_mistake_is_reported_at_once_with_line_and_mend() {
    let text = "[server]\nhosts = [\"a\", 5]\ntimeout = \"0s\"\nmax_body = \"4MB\"\nworkers = \"2\"\npace = 1\nlisten = 1\n\
                timeuot = 1\nwait = \"1s\"\nport = 80\npassword = \"canary\"\npassword_env = \"sk-canary\"\n\
                [server.limits]\nrequests = -1\n[[server.limits.paths]]\n[[routes]]\nkey_file = 5\n[trac]\n[other]";
    assert_eq!(
        problems(text),
        "line 2: server.hosts[1]: must be a string, not an integer; write it in quotes\n\
         line 3: server.timeout: 0s is out of range; write a value from 1ms to 24h\n\
         line 4: server.max_body: `4MB` is not a size; write \"4MiB\"\n\
         line 5: server.workers: must be a whole number, not a string; write a whole number, without quotes\n\
         line 6: server.pace: must be \"slow\" or \"fast\"; write one of the two, in quotes\n\
         line 7: server.listen: is no known key; remove it: here are hosts, timeout, max_body, workers, pace, password_env, \
         limits\n\
         line 8: server.timeuot: is no known key; write `timeout`\n\
         line 9: server.wait: has a new name; write `timeout`\n\
         line 10: server.port: has a new name; write `workers`\n\
         line 11: server.password: secrets never stand in the file; use password_env\n\
         line 12: server.password_env: is not the name of an environment variable; write the variable's name, such as \
         \"GLOBAL_API_KEY\", never the key itself\n\
         line 14: server.limits.requests: `-1` is out of range; write a whole number, without quotes\n\
         line 15: server.limits.paths[0].path: is missing; write a path\n\
         line 16: routes[0].name: is missing; write a name\n\
         line 17: routes[0].key_file: must be a string, not an integer; write the file's path in quotes\n\
         line 18: trac: is no known section; write `trace`\n\
         line 19: other: is no known section; remove it: here are server, routes, trace"
    );
}

#[test]
fn a_table_of_the_wrong_shape_is_one_problem() {
    assert_eq!(
        problems("server = 5"),
        "line 1: server: must be a section, not an integer; write [server] on a line of its own"
    );
    assert_eq!(
        problems("[[trace]]"),
        "line 1: trace: must be a section, not a list; write [trace] on a line of its own"
    );
    let list = "must be a list of sections, not a table; write [[routes]] on a line of its own before the keys of each";
    assert_eq!(problems("[routes]"), format!("line 1: routes: {list}"));
    assert!(problems("routes = [1, {name = \"x\"}]").starts_with("line 1: routes[0]: must be a section"));
}

#[test]
fn a_damaged_file_is_reported_by_line_and_never_shown() {
    let shown = problems("[server]\nworkers = \"canary\n\nhosts = [\"canary\"\n");
    assert!(shown.starts_with("line 2: is not TOML: ") && !shown.contains("canary"), "{shown}");
}

#[test]
fn a_key_that_is_no_bare_key_is_quoted_and_cut() {
    let shown = problems(&format!("[server]\n\"a\\nb\" = 1\n{} = 1", "x".repeat(200)));
    assert!(shown.contains("server.`a\\nb`: is no known key"), "{shown}");
    assert!(shown.lines().all(|line| line.len() < 240), "{shown}");
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,60}|([a-z\\[\\]=\"#.\\n ]{0,12}\\n){0,6}") {
        let mut problems = Problems::default();
        let file: Option<File> = document(&text, &mut problems);
        prop_assert!(file.is_some() || !problems.0.is_empty());
    }

    #[test]
    fn any_value_under_any_key_is_read_or_refused_there(
        key in "hosts|timeout|max_body|workers|pace|password_env",
        value in "0|[1-9][0-9]{0,3}|\"[0-9]{1,3}(ms|h|MiB|x)\"|true|\\[\\]|\\[\"a\", 1\\]|1\\.5|\\{\\}",
    ) {
        for problem in problems(&format!("[server]\n{key} = {value}")).lines() {
            let place = format!("line 2: server.{key}");
            prop_assert!(problem.starts_with(&place) && problem.contains("; "), "{}", problem);
        }
    }
}
