//! What the declarations say: the example, the reference, the schema.

use serde_json::json;

use super::*;
use crate::example::example;
use crate::markdown::markdown;
use crate::schema::schema;
use crate::{Json, Table};

fn more(path: &str) -> &'static str {
    if path == "routes" { "\n[[routes]]\nname = \"second\"\n" } else { "" }
}

const EXAMPLE: &str = r#"# All keys.

# The listener.
# See docs/SERVER.md.
[server]
# The names that requests may use:
#   "a.example": this name, and
#     no other.
# Empty: any.
hosts = []
# The time limit.
timeout = "15s"
# The largest body.
max_body = "4MiB"
# Threads. 0 = one per core.
workers = 0
# How fast it is.
pace = "slow"
# The variable with the password.
# password_env = "PASSWORD"

# Limits.
[server.limits]
# Per minute.
requests = 60

# Limits of one path.
# [[server.limits.paths]]
# The path.
# path = "/v1"
# Per minute.
# requests = 10

# A route. Repeat this section for each route.
[[routes]]
# Its name.
name = "first"
# A file with its key.
key_file = ""

[[routes]]
name = "second"

# Tracing. Without this section, it is off.
[trace]
# The share of requests.
all = true
"#;

#[test]
fn the_example_has_every_key_with_its_default() {
    let written = example("# All keys.\n", File::DESCRIPTION, more);
    assert_eq!(written, EXAMPLE);
    let short = "[[routes]]\nname = \"first\"\n[[routes]]\nname = \"second\"\n[trace]";
    assert_eq!(read(&written), read(short));
}

#[test]
fn the_reference_has_a_row_for_each_key() {
    let reference = markdown("# Keys\n", File::DESCRIPTION);
    for line in [
        "## `[server]`\n\nThe listener. See [SERVER.md](SERVER.md).\n\n| key |",
        "| `hosts` | list of strings | `[]` | The names that requests may use:<br>\"a.example\": this name, and no other.<br>Empty: any. |",
        "| `timeout` | duration, 1ms to 24h | `\"15s\"` | The time limit. |",
        "| `workers` | whole number, 0 to 1024 | `0` | Threads. 0 = one per core. |",
        "| `pace` | `\"slow\"`, `\"fast\"` | `\"slow\"` | How fast it is. |",
        "| `password_env` | environment variable | none | The variable with the password. |",
        "## `[[server.limits.paths]]`",
        "| `path` | string | required | The path. |",
    ] {
        assert!(reference.contains(line), "{line} is not in {reference}");
    }
}

#[test]
fn the_schema_states_types_bounds_and_what_is_required() {
    let schema = schema("Test", File::DESCRIPTION);
    let at = |path: &str| schema.pointer(path).unwrap_or(&Json::Null).clone();
    assert_eq!(at("/required"), json!(["routes"]));
    assert_eq!(at("/additionalProperties"), json!(false));
    assert_eq!(at("/properties/routes/minItems"), json!(1));
    assert_eq!(at("/properties/routes/items/required"), json!(["name"]));
    assert_eq!(
        at("/properties/server/properties/workers"),
        json!({ "type": "integer", "minimum": 0, "maximum": 1024, "default": 0, "description": "Threads. 0 = one per core." })
    );
    assert_eq!(at("/properties/server/properties/pace/enum"), json!(["slow", "fast"]));
    assert_eq!(at("/properties/server/properties/timeout/default"), json!("15s"));
    assert_eq!(
        at("/properties/server/properties/timeout/description"),
        json!("The time limit. From \"1ms\" to \"24h\".")
    );
    assert_eq!(at("/properties/server/properties/wait"), Json::Null, "an old name is unknown");
    assert_eq!(at("/properties/server/properties/limits/properties/paths/minItems"), Json::Null);
}
