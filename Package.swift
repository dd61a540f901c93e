// swift-tools-version: 6.2
import PackageDescription

// Arrows go down only (docs/architecture.md): executables -> daemon libraries -> clients of other daemons,
// storage, Daemon, Bus -> protocols -> C. scripts/check-imports compares this file with the import lines.

let settings: [SwiftSetting] = [
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .treatAllWarnings(as: .error),
]

let nioCore = Target.Dependency.product(name: "NIOCore", package: "swift-nio")
let nioPosix = Target.Dependency.product(name: "NIOPosix", package: "swift-nio")
let nioEmbedded = Target.Dependency.product(name: "NIOEmbedded", package: "swift-nio")
let nioConcurrency = Target.Dependency.product(name: "NIOConcurrencyHelpers", package: "swift-nio")
let nioHTTP1 = Target.Dependency.product(name: "NIOHTTP1", package: "swift-nio")
let nioHTTP2 = Target.Dependency.product(name: "NIOHTTP2", package: "swift-nio-http2")
let arguments = Target.Dependency.product(name: "ArgumentParser", package: "swift-argument-parser")
let logging = Target.Dependency.product(name: "Logging", package: "swift-log")
let metrics = Target.Dependency.product(name: "Metrics", package: "swift-metrics")
let coreMetrics = Target.Dependency.product(name: "CoreMetrics", package: "swift-metrics")
let algorithms = Target.Dependency.product(name: "Algorithms", package: "swift-algorithms")
let collections = Target.Dependency.product(name: "Collections", package: "swift-collections")

func library(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .target(name: name, dependencies: dependencies, swiftSettings: settings)
}

func executable(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .executableTarget(name: name, dependencies: dependencies + [arguments], swiftSettings: settings)
}

func tests(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .testTarget(
        name: "\(name)Tests",
        dependencies: [.init(stringLiteral: name)] + dependencies,
        swiftSettings: settings
    )
}

/// What every daemon stands on.
let daemonBase: [Target.Dependency] = [
    "Daemon", "Bus", "Network", "CLinux", nioCore, nioPosix, nioConcurrency, logging, metrics, coreMetrics,
]

/// The fuzzer (scripts/fuzz): part of the package only for it, since it needs libFuzzer to be linked.
let fuzzing: [Target] =
    Context.environment["MARTLET_FUZZ"] == nil
    ? []
    : [
        .executableTarget(
            name: "fuzz",
            dependencies: [
                "MIME", "MailAuth", "MailRules", "AuthReports", "DNS", "DNSSEC", "TSIG", "ZoneTransfer", "LocalZones",
                "ResolverService", "Daemon", "Bus", "Keys", "Milter", "QueueManager",
                "Cryptography", "Encodings", "JWT", "Network", "Rewriting", "SMTP", "IMAP", "POP3", "SASL", "TLS",
                "Spool", nioCore,
                nioEmbedded,
            ],
            path: "Tests/Fuzz",
            exclude: ["Corpus"],
            swiftSettings: settings
        )
    ]

/// What scripts/bench measures parsers with.
let benchmarks: [Target] =
    Context.environment["MARTLET_BENCH"] == nil
    ? []
    : [
        .executableTarget(
            name: "mime-bench",
            dependencies: ["MIME", "CZlib"],
            path: "Benchmarks/MIME",
            exclude: ["gmime.c"],
            swiftSettings: settings
        ),
        .executableTarget(
            name: "tls-bench",
            dependencies: ["Keys", "Network", "TLS", logging, nioCore, nioPosix],
            path: "Benchmarks/TLS",
            swiftSettings: settings
        ),
    ]

let package = Package(
    name: "martlet",
    dependencies: [
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
        .package(url: "https://github.com/apple/swift-nio-http2", from: "1.46.0"),
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-metrics", from: "2.13.0"),
        .package(url: "https://github.com/apple/swift-algorithms", from: "1.2.1"),
        .package(url: "https://github.com/apple/swift-collections", from: "1.6.0"),
    ],
    targets: [
        // C
        .target(name: "CLinux"),
        .target(name: "CSpawn"),
        .target(name: "CTOML"),
        .systemLibrary(name: "COpenSSL", pkgConfig: "openssl", providers: [.apt(["libssl-dev"])]),
        .systemLibrary(
            name: "CPasswordHash",
            pkgConfig: "libargon2",
            providers: [.apt(["libargon2-dev", "libcrypt-dev"])]
        ),

        .systemLibrary(name: "CIDN", pkgConfig: "libidn", providers: [.apt(["libidn-dev"])]),
        .systemLibrary(name: "CIDN2", pkgConfig: "libidn2", providers: [.apt(["libidn2-dev"])]),
        .systemLibrary(name: "CUnistring", providers: [.apt(["libunistring-dev"])]),
        .systemLibrary(name: "CExpat", pkgConfig: "expat", providers: [.apt(["libexpat1-dev"])]),
        .systemLibrary(name: "CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),
        .systemLibrary(name: "CSeccomp", pkgConfig: "libseccomp", providers: [.apt(["libseccomp-dev"])]),
        .systemLibrary(name: "CSQLite", pkgConfig: "sqlite3", providers: [.apt(["libsqlite3-dev"])]),

        // Hashes, signatures, keys: what OpenSSL does for the protocols below.
        library("Cryptography", ["COpenSSL"]),

        // Octets as text.
        library("Encodings", ["CLinux", nioCore]),

        // Protocols: values, parsers, state machines. No I/O, no clock, no randomness of their own.
        library("MIME", ["Encodings", "CIDN2", "CLinux", nioCore]),
        library("SMTP", [nioCore, "MIME"]),
        library("Milter", ["MIME", "SMTP", nioCore]),
        library("IMAP", [nioCore, "MIME", "Encodings", algorithms]),
        library("POP3", [nioCore, "MIME"]),
        library("DNS", ["Encodings", nioCore]),
        library("DNSSEC", ["DNS", "Cryptography", nioCore]),
        library("Caching", [algorithms]),
        library("TSIG", ["DNS", "Encodings", "Cryptography", nioCore]),
        library("ZoneTransfer", ["DNS"]),
        library("MailAuth", ["Caching", "MIME", "DNS", "Encodings", "Cryptography", "CIDN2", nioCore, nioConcurrency]),
        library("AuthReports", ["MailAuth", "MIME", "CExpat", "CZlib"]),
        library("SASL", ["Cryptography", "Encodings", "CIDN"]),
        library("JWT", ["Cryptography", "Encodings"]),

        // Connections, and what daemons say to each other.
        .target(name: "CTLSKeys", dependencies: ["COpenSSL"]),
        library("TLS", ["COpenSSL", "CTLSKeys", nioCore]),
        library("Network", ["CLinux", "TLS", nioCore, nioPosix, nioConcurrency, collections]),
        library("MailRules", ["MIME", "Network", "SMTP"]),
        library("Bus", ["Encodings", "Network", "SMTP", "CLinux", nioCore, nioPosix, nioConcurrency, logging]),
        library(
            "Daemon",
            [
                "CLinux", "CSeccomp", "CTOML", "Bus", "Network", "MailRules", "MIME", "SASL", "SMTP", "TLS", "DNS",
                nioCore, nioPosix, nioConcurrency, logging, coreMetrics, arguments,
            ]
        ),

        // What is on disk.
        library("Files", ["CLinux", nioCore]),
        library(
            "Spool",
            ["Encodings", "Files", "SMTP", "CLinux", nioCore, nioPosix, nioConcurrency, collections]
        ),
        library("Mailbox", ["Files", nioCore, nioConcurrency, algorithms]),
        library("MailIndex", ["CSQLite", nioConcurrency]),

        library("ZoneKeys", ["DNS", "DNSSEC", "Cryptography"]),

        // Clients of other daemons that more than one daemon needs.
        library("Accounts", ["Bus", "Daemon", "Encodings", "Network", "SASL", "SMTP", nioCore, logging]),
        // Messages that can't go on as they are.
        library("Rewriting", ["Encodings", "MIME", "MailAuth", "SMTP", nioCore]),

        library(
            "Keys",
            ["Bus", "Cryptography", "Encodings", "Network", "TLS", nioCore, nioConcurrency, logging]
        ),
        library("Submission", ["Bus", "Network", "SMTP", nioCore]),
        library("Reporting", ["Bus", "Network", nioCore, coreMetrics, collections]),
        library("Deliverer", ["Bus", "Daemon", "Network", "SMTP", nioCore, logging, coreMetrics]),
        library("MilterClient", ["Daemon", "Milter", "Network", "SMTP", nioCore, nioConcurrency, logging]),
        library("Resolution", ["Caching", "DNS", "Network", nioCore, nioPosix, nioConcurrency]),

        // What strangers come to, and what takes over after their login.
        library(
            "Front",
            [
                "Accounts", "Bus", "Daemon", "Encodings", "Keys", "Network", "SASL", "SMTP", "TLS", nioCore,
                nioPosix, nioConcurrency, logging, coreMetrics,
            ]
        ),
        library(
            "MailboxProcess",
            ["Accounts", "Bus", "Daemon", "Front", "Mailbox", "Network", "SMTP", nioCore, logging, coreMetrics]
        ),

        // Daemons.
        library(
            "Policy",
            [
                "MailAuth", "MailRules", "MIME", "DNS", "SMTP", "Reporting", "Resolution", "Network", nioCore,
                nioConcurrency, logging,
            ]
        ),
        library(
            "SMTPServer",
            daemonBase + [
                "SMTP", "MIME", "SASL", "Accounts", "Front", "Submission", "TLS", "MailAuth", "Policy", "MailRules",
                "Reporting", "Resolution", "Milter", "MilterClient",
            ]
        ),
        library(
            "QueueManager",
            daemonBase + ["Accounts", "Deliverer", "Files", "Spool", "Submission", "SMTP", "MIME", collections]
        ),
        library(
            "RemoteRelay",
            daemonBase + [
                "Caching", "Cryptography", "DNS", "Deliverer", "Encodings", "Keys", "MIME", "MailAuth", "Reporting",
                "Resolution",
                "Rewriting", "SASL", "SMTP", "TLS", nioHTTP1, collections,
            ]
        ),
        library(
            "ReportService",
            daemonBase + [
                "AuthReports", "Cryptography", "DNS", "Files", "MailAuth", "MIME", "Policy", "Reporting",
                "Resolution", "SMTP", "Submission", collections,
            ]
        ),
        library(
            "LocalDelivery",
            daemonBase + ["Mailbox", "SMTP", "MIME", "Rewriting", "Accounts", "Deliverer", "Submission"]
        ),
        library("PipeDelivery", daemonBase + ["CSpawn", "Deliverer", "SMTP"]),
        library(
            "Authority",
            daemonBase + ["Encodings", "JWT", "Rewriting", "SASL", "SMTP", "TLS", "Cryptography", "CPasswordHash"]
        ),
        library("KeyService", daemonBase + ["Cryptography", "Files", "Keys", "MailAuth", "SMTP", "TLS"]),
        library("POP3Server", daemonBase + ["POP3", "SASL", "Mailbox", "Accounts", "Front", "MailboxProcess"]),
        library(
            "IMAPServer",
            daemonBase + [
                "IMAP", "SASL", "Mailbox", "MailIndex", "MIME", "Accounts", "CUnistring", "CZlib", "Front",
                "MailboxProcess", algorithms, collections,
            ]
        ),
        // resolverd: what we have authority for, what others are asked, and who asks us.
        library(
            "LocalZones",
            daemonBase + [
                "Caching", "DNS", "DNSSEC", "TSIG", "ZoneTransfer", "ZoneKeys", "Cryptography", collections,
            ]
        ),
        library("Recursion", daemonBase + ["Caching", "DNS", "DNSSEC", "TLS"]),
        library(
            "ResolverService",
            daemonBase + [
                "Caching", "LocalZones", "Recursion", "DNS", "DNSSEC", "TSIG", "ZoneTransfer", "Cryptography", "Keys",
                "TLS", nioHTTP1, nioHTTP2,
            ]
        ),

        executable("smtpd", ["SMTPServer", "Daemon"]),
        executable("queue-manager", ["QueueManager", "Daemon"]),
        executable("remote-relay", ["RemoteRelay", "Daemon"]),
        executable("local-deliver", ["LocalDelivery", "Daemon"]),
        executable("pipe-deliver", ["PipeDelivery", "Daemon"]),
        executable("authd", ["Authority", "Daemon"]),
        executable("pop3d", ["POP3Server", "Daemon"]),
        executable("imapd", ["IMAPServer", "Daemon"]),
        executable("resolverd", ["ResolverService", "Daemon"]),
        executable("reportd", ["ReportService", "Daemon"]),
        executable("keyd", ["KeyService", "Daemon"]),

        // Commands.
        executable(
            "martlet",
            [
                "Accounts", "Daemon", "Bus", "Network", "TLS", "Authority", "DNS", "DNSSEC", "Resolution", "SMTP",
                "MIME", "Files", "MailAuth", "MailRules", "Policy", "QueueManager", "SMTPServer", "AuthReports",
                "Encodings", "JWT", "Keys", "Mailbox", "SASL", "Spool", "ZoneKeys", "Cryptography", "CLinux", nioCore,
                nioPosix,
                nioHTTP1, nioHTTP2,
            ]
        ),
        executable(
            "sendmail",
            ["Accounts", "Daemon", "Bus", "Network", "Submission", "SMTP", "MIME", "CLinux", nioCore, nioPosix]
        ),

        // Tests.
        tests("CLinux", []),
        tests("Cryptography", []),
        tests("Encodings", [nioCore]),
        tests("MIME", ["Encodings", nioCore]),
        tests("MailAuth", ["AuthReports", "MIME", "DNS", "Cryptography", "Encodings", nioCore]),
        tests("SMTP", [nioCore]),
        tests("Milter", ["SMTP", nioCore]),
        tests("IMAP", ["Files", "MIME", nioCore]),
        tests("POP3", [nioCore]),
        tests("MailIndex", [nioConcurrency]),
        tests("DNS", [nioCore]),
        tests("DNSSEC", ["DNS", "Cryptography", nioCore]),
        tests("TSIG", ["DNS", "Cryptography", nioCore]),
        tests("ZoneTransfer", ["DNS"]),
        .target(
            name: "LoginClients",
            dependencies: ["Cryptography", "Encodings"],
            path: "Tests/LoginClients",
            swiftSettings: settings
        ),
        tests("SASL", ["Cryptography", "Encodings", "LoginClients"]),
        tests("JWT", ["Cryptography", "Encodings", "LoginClients"]),
        tests("TLS", ["COpenSSL", "CertificateMaker", "Cryptography", nioCore, nioEmbedded]),
        tests("Network", ["TLS", "CLinux", "COpenSSL", nioCore, nioPosix, nioConcurrency]),
        tests("Bus", ["Network", nioCore, nioPosix, nioConcurrency, logging]),
        tests("Daemon", ["Bus", "CLinux", "CSeccomp", "DNS", "Network", "SASL", "SMTP", logging, nioCore, nioPosix]),
        .target(
            name: "SimulatedDisk",
            dependencies: ["Files", nioCore, nioConcurrency],
            path: "Tests/SimulatedDisk",
            swiftSettings: settings
        ),
        tests("Files", [nioCore]),
        tests("SimulatedDisk", ["Files", nioCore]),
        .target(
            name: "SpoolSimulation",
            dependencies: ["Files", "SimulatedDisk", "SMTP", "Spool", nioCore, nioConcurrency],
            path: "Tests/SpoolSimulation",
            swiftSettings: settings
        ),
        .target(
            name: "QueueSimulation",
            dependencies: [
                "Bus", "Daemon", "Deliverer", "Files", "QueueManager", "SimulatedDisk", "SMTP", "Spool",
                "SpoolSimulation",
                nioCore,
                nioEmbedded, logging,
            ],
            path: "Tests/QueueSimulation",
            swiftSettings: settings
        ),
        .target(
            name: "MailboxSimulation",
            dependencies: ["Files", "Mailbox", "SimulatedDisk", "SpoolSimulation", nioCore],
            path: "Tests/MailboxSimulation",
            swiftSettings: settings
        ),
        .executableTarget(
            name: "simulate",
            dependencies: ["MailboxSimulation", "QueueSimulation", "SpoolSimulation"],
            path: "Tests/Simulate",
            swiftSettings: settings
        ),
        .target(name: "CSystemCallTrial", path: "Tests/CSystemCallTrial"),
        .executableTarget(
            name: "system-call-trial",
            dependencies: ["CSeccomp", "CSystemCallTrial", "Daemon"],
            path: "Tests/SystemCallTrial",
            swiftSettings: settings
        ),
        tests("Spool", ["Files", "SimulatedDisk", "SpoolSimulation", "SMTP", nioCore, nioPosix, nioConcurrency]),
        tests(
            "Mailbox",
            ["Files", "MailboxSimulation", "SimulatedDisk", "SpoolSimulation", nioCore, nioPosix, nioConcurrency]
        ),
        tests("ZoneKeys", ["DNS", "DNSSEC", "Cryptography"]),
        tests("Accounts", ["SMTP", "Bus", "Daemon", "Network", nioCore, nioPosix, nioConcurrency, logging]),
        tests(
            "Front",
            ["Accounts", "Bus", "Daemon", "Encodings", "Network", "SASL", "SMTP", "TLS", nioCore, nioPosix, logging]
        ),
        tests("Resolution", ["DNS", "Network", nioCore, nioPosix, nioConcurrency]),
        tests("Rewriting", ["SMTP"]),
        tests("Submission", ["Bus", "Network", "SMTP", nioCore, nioPosix, nioConcurrency]),
        tests("Deliverer", ["Bus", "Daemon", "Network", "SMTP", nioCore, nioPosix, nioConcurrency, logging]),
        tests("MailRules", ["Network", "SMTP"]),
        tests("MilterClient", ["Milter", "SMTP", nioCore]),
        tests(
            "Policy",
            [
                "MailAuth", "MailRules", "MIME", "DNS", "Reporting", "SMTP", "Resolution", "Network", nioCore, nioPosix,
                nioConcurrency, logging,
            ]
        ),
        tests("SMTPServer", daemonBase + ["Front", "MailRules", "Milter", "SASL", "SMTP", "MIME", "TLS", "Policy"]),
        tests(
            "QueueManager",
            daemonBase + [
                "Deliverer", "Files", "QueueSimulation", "SimulatedDisk", "Spool", "SpoolSimulation", "SMTP", "MIME",
                collections,
            ]
        ),
        tests("Reporting", ["Bus", "Network", nioCore, nioPosix, nioConcurrency, logging]),
        tests(
            "ReportService",
            daemonBase + [
                "AuthReports", "DNS", "Files", "MailAuth", "MIME", "Policy", "Reporting", "Resolution", "SimulatedDisk",
                "SMTP", "Submission",
            ]
        ),
        tests(
            "RemoteRelay",
            daemonBase + [
                "Cryptography", "Deliverer", "DNS", "Encodings", "Keys", "MailAuth", "MIME", "Reporting", "Resolution",
                "Rewriting",
                "SASL", "SMTP", "TLS",
            ]
        ),
        tests("LocalDelivery", daemonBase + ["Accounts", "Deliverer", "Mailbox", "Rewriting", "SMTP", "Submission"]),
        tests("PipeDelivery", daemonBase + ["Deliverer", "SMTP"]),
        tests(
            "Authority",
            daemonBase + [
                "Accounts", "Cryptography", "Encodings", "JWT", "LoginClients", "Rewriting", "SASL", "SMTP", "TLS",
                nioEmbedded,
            ]
        ),
        tests("POP3Server", daemonBase + ["Accounts", "Front", "MailboxProcess", "POP3", "Mailbox", "TLS"]),
        tests(
            "IMAPServer",
            daemonBase + [
                "Accounts", "Encodings", "Files", "Front", "MailboxProcess", "IMAP", "Mailbox", "MailIndex",
                "SimulatedDisk", "TLS",
                nioEmbedded,
            ]
        ),
        .target(
            name: "CertificateMaker",
            dependencies: ["COpenSSL", "Cryptography"],
            path: "Tests/CertificateMaker",
            swiftSettings: settings
        ),
        tests("Keys", ["Bus", "Cryptography", "TLS", nioCore]),
        tests("KeyService", daemonBase + ["CertificateMaker", "Cryptography", "Files", "Keys", "SMTP", "TLS"]),
        tests("Caching", []),
        .target(
            name: "DNSFixtures",
            dependencies: ["DNS", nioConcurrency],
            path: "Tests/DNSFixtures",
            swiftSettings: settings
        ),
        tests(
            "LocalZones",
            daemonBase + ["DNS", "DNSFixtures", "DNSSEC", "TSIG", "ZoneTransfer", "ZoneKeys", "Cryptography"]
        ),
        tests("Recursion", daemonBase + ["DNS", "DNSFixtures", "DNSSEC"]),
        tests(
            "ResolverService",
            daemonBase + [
                "Caching", "LocalZones", "Recursion", "DNS", "DNSFixtures", "DNSSEC", "TSIG", "ZoneTransfer",
                "ZoneKeys", "Cryptography", "TLS", nioHTTP1,
            ]
        ),
    ] + fuzzing + benchmarks,
    swiftLanguageModes: [.v6],
    cLanguageStandard: .gnu17,
    cxxLanguageStandard: .cxx17
)
