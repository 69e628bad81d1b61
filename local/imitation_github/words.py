"""The words that the imitation's people and repositories are made of; all made up."""

FIRST_NAMES = (
    "Mira", "Tobin", "Anselm", "Ottoline", "Pia", "Rafi", "Sunniva", "Jorrit", "Hedda", "Casimir",
    "Noor", "Ilka", "Benno", "Tamsin", "Kofi", "Ayla", "Dario", "Femke", "Goran", "Yuki",
    "Ines", "Levan", "Marit", "Nadim", "Oona", "Priya", "Quentin", "Runa", "Stellan", "Thalia",
)  # fmt: skip
LAST_NAMES = (
    "Tallow", "Brackwater", "Lindqvist", "Okonjo", "Fenwick", "Marrow", "Halloran", "Zeeman", "Varga", "Pellegrin",
    "Achterberg", "Dunmore", "Escalante", "Ferreiro", "Gantz", "Hollander", "Ishikawa", "Juniper", "Kestrel",
)  # fmt: skip
CHINESE_NAMES = (
    ("云鹤", "yunhe"), ("晓舟", "xiaozhou"), ("子墨", "zimo"), ("星野", "xingye"), ("青禾", "qinghe"),
    ("知夏", "zhixia"), ("林溪", "linxi"), ("南乔", "nanqiao"), ("沐言", "muyan"), ("一苇", "yiwei"),
)  # fmt: skip
CHINESE_FAMILIES = (
    ("柳", "liu"), ("顾", "gu"), ("沈", "shen"), ("陆", "lu"), ("江", "jiang"), ("白", "bai"), ("秦", "qin"),
)  # fmt: skip
ADJECTIVES = (
    "tin", "quiet", "brass", "hollow", "amber", "swift", "paper", "lucid", "copper", "mellow", "frozen", "tiny",
    "rapid", "velvet", "north", "plain", "silver", "humble", "woven", "stray", "lunar", "crisp", "salt", "open",
)  # fmt: skip
NOUNS = (
    "lantern", "otter", "kettle", "harbor", "compass", "loom", "anvil", "quill", "beacon", "ferry", "sparrow", "prism",
    "ledger", "pocket", "bridge", "cellar", "orbit", "pebble", "rocket", "thimble", "walnut", "meadow", "badger",
)  # fmt: skip
ORGANIZATION_ENDINGS = ("labs", "hq", "io", "dev", "works", "org", "stack", "studio")
CITIES = (
    "Ghent", "Tromsø", "Porto", "上海", "杭州", "Kraków", "São Paulo", "Lagos", "Taipei", "Pune", "Wellington",
    "Montréal", "深圳", "Tbilisi", "Leipzig", "北京", "Osaka", "Bogotá",
)  # fmt: skip
BIOS = (
    "I make small tools and then use them.",
    "Compilers by day, bread by night 🍞",
    "Open source maintainer. Please read the issue template.",
    "写代码，也写诗。",
    "Distributed systems. Opinions are replicated, not consistent.",
    "前端工程师 / 独立开发者 / 猫奴 🐈",
    "Maps, graphs & <timetables>.",
    "she/her · type systems · climbing",
    "专注云原生与数据库内核",
    "Building things for people who build things 🛠️",
)
THINGS = (
    "task queue", "static site generator", "HTTP client", "terminal dashboard", "key-value store", "query builder",
    "vector database", "code review assistant", "test runner", "package manager", "game engine", "time-series database",
    "PDF toolkit", "state machine library", "feature-flag server", "log shipper", "Markdown editor", "image optimizer",
    "map renderer", "speech-to-text pipeline", "agent framework", "design system", "keyboard firmware",
    "home-automation hub", "reverse proxy", "schema validator", "Kubernetes operator", "password manager", "RSS reader",
)  # fmt: skip
PURPOSES = (
    "that fits in one file", "for people in a hurry", "without dependencies", "for the terminal", "at the edge",
    "with batteries included", "for very large monorepos", "written from scratch", "that explains its decisions",
    "for offline-first apps", "built on io_uring", "with end-to-end types", "you can read in an afternoon",
    "for tiny computers", "that never blocks", "with reproducible builds",
)  # fmt: skip
PRAISE = (
    "A fast",
    "A small",
    "Yet another",
    "The missing",
    "An experimental",
    "A friendly",
    "A type-safe",
    "A minimal",
)
EMOJI = ("🚀", "⚡️", "🦀", "🔥", "🧪", "📦", "🌱", "🎛️", "🐙", "🗺️")
CHINESE_THINGS = (
    "任务队列", "静态网站生成器", "小程序组件库", "后台管理模板", "向量数据库", "爬虫框架", "可视化大屏",
    "知识库问答系统", "低代码平台", "微服务脚手架", "面试题合集", "终端工具", "图床工具", "配置中心",
)  # fmt: skip
CHINESE_PURPOSES = (
    "开箱即用", "零依赖，易上手", "支持私有化部署", "适合初学者", "持续更新中", "生产环境已验证", "性能极佳",
)  # fmt: skip
JAPANESE_DESCRIPTIONS = (
    "小さくて速いテキストエディタ",
    "日本語の形態素解析ライブラリ 📚",
    "毎日の家計簿をターミナルで",
    "ゲームボーイエミュレータを一から書く",
)
GERMAN_DESCRIPTIONS = (
    "Ein kleiner Fahrplanserver für öffentliche Verkehrsdaten",
    "Übungsaufgaben zur Linearen Algebra, mit Lösungen",
    "Haushaltsbuch für die Kommandozeile",
)
AWKWARD_DESCRIPTIONS = (
    'Escapes <b>everything</b> & "nothing": it\'s just text &amp; entities',
    "5,000 stars today — or your money back",
    "A tab\tand  several   spaces, then a very long sentence that goes on and on so that whoever lays out a list of"
    " repositories sees what happens to a description which its author never meant to be read on a small screen at all",
)
TOPICS = (
    "cli", "database", "machine-learning", "llm", "wechat-miniprogram", "devops", "rust", "self-hosted", "awesome-list",
    "frontend", "compiler", "games", "observability", "security", "kubernetes", "vue", "react", "typescript", "maps",
)  # fmt: skip
LANGUAGE_WEIGHTS = {
    "Python": 15, "TypeScript": 14, "JavaScript": 11, "Go": 9, "Rust": 9, "Java": 7, "C++": 7, "C": 5, "C#": 4,
    "Jupyter Notebook": 4, "Shell": 3, "Kotlin": 3, "Swift": 3, "Ruby": 3, "PHP": 3, "Vue": 3, "HTML": 2, "Dart": 2,
    "Zig": 2, "Lua": 2, "Elixir": 1, "Haskell": 1, "F#": 1, "Scala": 1, "Svelte": 1, "Visual Basic .NET": 1, "Julia": 1,
    "Vim Script": 1, "Objective-C": 1, "Ren'Py": 1, "WebAssembly": 1,
}  # fmt: skip
LICENSES = (
    ("mit", "MIT License", "MIT", 9),
    ("apache-2.0", "Apache License 2.0", "Apache-2.0", 6),
    ("gpl-3.0", "GNU General Public License v3.0", "GPL-3.0", 3),
    ("bsd-3-clause", 'BSD 3-Clause "New" or "Revised" License', "BSD-3-Clause", 1),
    ("mpl-2.0", "Mozilla Public License 2.0", "MPL-2.0", 1),
    ("other", "Other", "NOASSERTION", 2),
)
BOTS = ("dependabot", "github-actions", "renovate", "pre-commit-ci")
SPOKEN_LANGUAGES = {
    "ar": "Arabic", "bn": "Bengali", "ca": "Catalan", "zh": "Chinese", "cs": "Czech", "da": "Danish",
    "nl": "Dutch, Flemish", "en": "English", "et": "Estonian", "fi": "Finnish", "fr": "French", "de": "German",
    "el": "Greek", "he": "Hebrew", "hi": "Hindi", "hu": "Hungarian", "is": "Icelandic", "id": "Indonesian",
    "it": "Italian", "ja": "Japanese", "ko": "Korean", "lt": "Lithuanian", "ms": "Malay", "nb": "Norwegian Bokmål",
    "fa": "Persian", "pl": "Polish", "pt": "Portuguese", "ro": "Romanian, Moldavian, Moldovan", "ru": "Russian",
    "sr": "Serbian", "sk": "Slovak", "es": "Spanish, Castilian", "sv": "Swedish", "ta": "Tamil", "th": "Thai",
    "tr": "Turkish", "uk": "Ukrainian", "ur": "Urdu", "vi": "Vietnamese", "cy": "Welsh",
}  # fmt: skip
