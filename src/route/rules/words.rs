//! The words of the signs, in lower case. One that ends in `|` is meant whole; any other is also the beginning of a longer one.
//! Pure.
//!
//! In English, German, French, Spanish, Polish, Russian, Chinese and Japanese: few words each, those that say what is wanted.

use super::Sign;

/// Every sign that is known by words.
pub(super) const ALL: [(Sign, &[&str]); 6] = [
    (Sign::Plain, PLAIN),
    (Sign::Mathematics, MATHEMATICS),
    (Sign::Programming, PROGRAMMING),
    (Sign::Judgement, JUDGEMENT),
    (Sign::Depth, DEPTH),
    (Sign::Trade, TRADE),
];

const PLAIN: &[&str] = &[
    // English
    "hi|", "hello|", "hey|", "thanks", "thank you", "good morning", "bye|", "translate", "how do you say", "summari",
    "shorten", "rephrase", "reword", "rewrite this", "rewrite the", "make this", "make it", "fix the spelling",
    "correct the", "proofread", "extract", "pull the", "list the", "list all", "classify", "categori", "define",
    "what does", "what is the name", "what is the capital", "what colour", "what color", "who is|", "who was|",
    "who wrote", "when did", "when was", "when is", "which planet", "which year", "in which year", "how old", "how tall",
    "convert", "sort these", "count how", "give me the names", "give this", "turn this", "change this", "uppercase",
    "detect the language", "is this review", "which of these", "which dates", "please make a", "from the log",
    "tell me a joke", "make a shopping", "write a short", "write a friendly", "write a haiku", "suggest", "recommend",
    "set a timer", "turn off", "turn on", "play|", "describe this picture", "what animal", "add a comment",
    // German
    "hallo", "guten morgen", "danke", "übersetze", "fasse", "was bedeutet", "wie sagt man", "schreibe das", "korrigiere",
    "verbessere", "was ist die hauptstadt", "wie viele",
    // French
    "bonjour", "merci", "traduis", "traduisez", "résume", "résumez", "corrige", "que signifie", "quelle est la capitale",
    // Spanish
    "hola", "gracias", "¿qué tal", "traduce", "resume|", "corrige", "¿qué significa", "¿cuál es la capital",
    // Polish
    "cześć", "dzień dobry", "dziękuję", "przetłumacz", "streść", "popraw", "co znaczy",
    // Russian
    "привет", "спасибо", "переведи", "исправь", "перескажи", "что значит",
    // Chinese, Japanese
    "你好", "谢谢", "翻译", "总结", "概括", "こんにちは", "ありがとう", "翻訳", "要約",
];

const MATHEMATICS: &[&str] = &[
    // English
    "prove|", "show that", "proof|", "proofs|", "disprove", "theorem", "lemma|", "derive|", "derivation", "integral", "eigenvalue",
    "differential equation", "expected number", "expected value", "recurrence", "closed form", "lagrange",
    "countermodel", "counterexample", "how many ways", "integer solutions", "probability that", "evaluate the integral",
    "step by step", "variance", "conditional probability", "asymptotic", "optimal strategy",
    // German
    "beweise", "zeige, dass", "leite her", "herleit", "begründe", "wahrscheinlichkeit, dass",
    // French
    "démontre", "prouve", "montrer que", "montrez que", "justifie",
    // Spanish
    "demuestra", "demostrar", "deduce|", "justifica",
    // Polish
    "udowodnij", "wykaż", "uzasadnij",
    // Russian
    "докажи", "обоснуй", "выведите формулу",
    // Chinese, Japanese
    "证明", "推导", "逐步推理", "証明", "導出",
];

const PROGRAMMING: &[&str] = &[
    // English
    "debug", "deadlock", "race condition", "memory leak", "leaks|", "segmentation fault", "segfault", "stack trace",
    "implement", "refactor", "lock-free", "thread-safe", "concurren", "lifetime error", "does not compile",
    "undefined reference", "find the bug", "find and fix", "core dumped", "data structure", "algorithm in", "complexity",
    "parser", "compiler", "sliding window", "unit tests", "with tests", "query that finds", "optimise this",
    "optimize this", "kubernetes", "under load", "in production", "times slower", "times faster", "slower after", "port this", "multi-arch", "linear time", "works only",
    // German
    "implementiere", "thread-sicher", "endlosschleife", "nebenläufig", "speicherleck", "fehler in diesem",
    // French
    "implémente", "débogue", "fuite de mémoire", "script python qui",
    // Spanish
    "implementa|", "depura", "fuga de memoria",
    // Polish
    "zaimplementuj", "wyciek pamięci",
    // Russian
    "реализуй", "утечка памяти", "отлад",
    // Chinese, Japanese
    "多线程", "死锁", "调试", "实现一个", "デバッグ", "実装",
];

const JUDGEMENT: &[&str] = &[
    // English
    "analyse", "analyze", "critique", "critical assessment", "assess", "evaluate the argument", "trade-off", "tradeoff",
    "design a|", "design the|", "architecture", "propose a", "recommend one", "compare the", "compare event", "weigh|",
    "strategy", "schema for", "migration plan", "review this", "interpret", "what could go wrong", "failure modes",
    "disaster recovery", "business plan", "grant proposal", "essay", "make a schedule", "plan a", "reconcile", "distinguish", "cite the",
    // German
    "analysiere", "entwirf", "vergleiche", "bewerte", "erörtere", "interpretiere", "architektur",
    // French
    "analyse", "conçois", "compare|", "évalue", "dissertation",
    // Spanish
    "analiza", "diseña", "evalúa", "ensayo",
    // Polish
    "przeanalizuj", "zaprojektuj", "porównaj",
    // Russian
    "проанализируй", "спроектируй", "сравни",
    // Chinese, Japanese
    "分析", "设计", "評価して", "比較して", "設計",
];

const DEPTH: &[&str] = &[
    // English
    "why|", "explain why", "explain how", "and explain", "justify", "under these constraints", "constraints", "assumption",
    "discuss", "argue", "exactly", "in detail", "with a derivation", "what are the likely causes", "which and why",
    "and what if", "then construct", "at most", "at least", "for every", "is optimal", "mechanism", "without a", "paradox",
    "consequences", "risks", "correct with", "guarantee", "what exactly", "each step", "root cause", "cheapest", "riddle", "what if",
    // German
    "warum|", "erkläre", "inwiefern", "ohne den", "unter berücksichtigung", "gibt es eine lösung",
    // French
    "pourquoi", "explique", "sans tout",
    // Spanish
    "por qué", "explica",
    // Polish
    "dlaczego", "wyjaśnij",
    // Russian
    "почему", "объясни",
    // Chinese, Japanese
    "为什么", "解释", "请说明", "なぜ", "説明して",
];

const TRADE: &[&str] = &[
    "differential diagnosis", "mechanism of", "presents with", "contraindic", "dosage", "blood gas", "anion gap",
    "gdpr", "liabil", "indemnif", "clause", "statute", "tax consequences", "vat|", "regression", "confounding", "cohort",
    "p-value", "statistically", "cash-flow", "cash flow", "discount rate", "eurocode", "load-bearing", "quantum",
    "black-scholes", "byzantine", "consensus", "raft|", "paxos", "crdt", "tls|", "navier", "hamiltonian", "lagrangian",
    "retrosynthesis", "reagent", "crispr", "gödel", "kant|", "hume|", "epistemolog", "ontolog", "monetarist", "keynesian",
    "haftung", "量子", "诊断",
];
