import Accounts
import Authority
import Daemon
import JWT
import SASL
import SMTP
import TLS

#if canImport(Glibc)
import Glibc
#endif

/// Whether authd can read the tables of users and aliases, whether they say what was meant, and whether authd uses them as
/// they are.
struct AccountsCheck {
    private let configuration: Configuration
    private let configurationFile: String

    /// So many faulty lines are named.
    private static let maximumLines = 20

    init(_ configuration: Configuration, file: String) {
        self.configuration = configuration
        configurationFile = file
    }

    func findings() async -> [Finding] {
        let settings = configuration.authd
        var findings = reachFaults()
        findings += await running()
        let users = table(settings.users, into: &findings, AccountTable.init(text:file:))
        let aliases = table(settings.aliases, into: &findings, AliasTable.init(text:file:))
        guard let users, let aliases else { return findings }
        var lists: [String: MailingList] = [:]
        for path in aliases.lists.sorted() {
            lists[path] = table(
                path,
                into: &findings,
                maximum: MailingList.maximumOctets,
                isGuarded: true,
                MailingList.init(text:file:)
            )
        }
        let directory = AccountDirectory(
            accounts: users,
            aliases: aliases,
            domains: configuration.domains,
            lists: lists,
            delimiters: settings.subaddressDelimiters
        )
        findings.append(.fine("accounts", "\(users.all.count) users in \(configuration.domains.count) domains"))
        findings += configuration.domains.compactMap { missingPostmaster(of: $0, directory) }
        findings += users.all.compactMap(foreignUser)
        findings += users.all.compactMap(unusableHash)
        findings += users.all.compactMap(foreignVerifier)
        findings += users.all.compactMap { hiddenUser($0, directory) }
        findings += aliases.all.compactMap { missingTarget(of: $0, directory) }
        findings += loginFindings(users)
        return findings
    }

    // MARK: authd's view

    /// The files that aliases name, as far as the table can be read.
    private var lists: [String] {
        let file = configuration.authd.aliases
        let text = WholeFile.read(file, maximum: 256 << 20)
        return (text.flatMap { try? AliasTable(text: $0, file: file) })?.lists.sorted() ?? []
    }

    /// Whether authd, with its own rights, may read what it reads.
    private func reachFaults() -> [Finding] {
        let user = configuration.systemUsers[.authd]
        // Where the user is missing, that was said already.
        guard let reach = FileReach(user: user) else { return [] }
        let files = [configuration.authd.users, configuration.authd.aliases, configurationFile] + optionalFiles + lists
        return files.compactMap { file in
            switch reach.obstacle(to: file) {
            case nil: return nil
            case .missing(let path):
                return .wrong("accounts", "there is no \(path)", mend: "make it; scripts/install makes \(file) empty")
            case .directory(let path) where getuid() != 0, .file(let path) where getuid() != 0:
                let mend = "run this as root, or as the user that the daemons run as"
                return .wrong("accounts", "\(path) keeps you from reading \(file)", mend: mend)
            case .directory(let path):
                return .wrong("accounts", "authd (\(user)) may not look into \(path)", mend: "chmod o+x \(path)")
            case .file(let path):
                return .wrong(
                    "accounts",
                    "authd (\(user)) may not read \(path)",
                    mend: "chgrp \(user) \(path) && chmod 640 \(path)"
                )
            case .other(let path, let code):
                return .wrong(
                    "accounts",
                    "authd (\(user)) cannot open \(path): \(String(cString: strerror(code)))",
                    mend: "mend that first; logins and mail may be put off"
                )
            }
        }
    }

    /// What the authd that runs says about its files. One that doesn't run says nothing.
    private func running() async -> [Finding] {
        guard let state = try? await DirectoryWatch.ask("run/auth.sock") else { return [] }
        var findings = state.troubles.map { trouble in
            Finding.wrong(
                "authd",
                "does not use what is on disk: \(trouble)",
                mend: "mend the file; if nothing is wrong with it, restart authd"
            )
        }
        if state.troubles.isEmpty, state.domains != configuration.domains {
            findings.append(
                .wrong(
                    "authd",
                    "has other domains than \(configurationFile): \(state.domains.joined(separator: ", "))",
                    mend: "restart authd"
                )
            )
        }
        return findings
    }

    /// What need not be there, where it is; and what is named only where it's needed.
    private var optionalFiles: [String] {
        let settings = configuration.authd
        return [settings.appPasswords, settings.certificates, settings.senders].filter { access($0, F_OK) == 0 }
            + [settings.oauth?.keys, configuration.tls.clientAuthorities].compactMap(\.self)
    }

    // MARK: What else users log in by

    private func loginFindings(_ users: AccountTable) -> [Finding] {
        let settings = configuration.authd
        var findings: [Finding] = []
        if access(settings.appPasswords, F_OK) == 0,
            let passwords = table(settings.appPasswords, into: &findings, AppPasswordTable.init(text:file:))
        {
            findings += passwords.addresses.filter { users[$0] == nil }.map { address in
                .doubtful(
                    "accounts",
                    "\(address) has app passwords in \(settings.appPasswords), and there is no such user",
                    mend: "take the lines out"
                )
            }
        }
        if access(settings.certificates, F_OK) == 0 {
            _ = table(settings.certificates, into: &findings, CertificateTable.init(text:file:))
        }
        if access(settings.senders, F_OK) == 0,
            let senders = table(settings.senders, into: &findings, SenderTable.init(text:file:))
        {
            findings += senders.accounts.filter { users[$0] == nil }.map { address in
                .doubtful(
                    "accounts",
                    "\(address) has lines in \(settings.senders), and there is no such user",
                    mend: "take the lines out"
                )
            }
        }
        findings += [scramFinding(users), tokenFinding(), authoritiesFinding()].compactMap(\.self)
        return findings
    }

    private func scramFinding(_ users: AccountTable) -> Finding? {
        let isOffered = configuration.login.mechanisms.contains { if case .scram = $0.need { true } else { false } }
        guard isOffered, configuration.login.scram != .never else { return nil }
        let records = AuthorityRecords(directory: AuthdConfiguration.stateDirectory)
        let missing = users.all.filter { PasswordHash.isKnown($0.hash) && records.verifier(of: $0) == nil }
        guard let first = missing.first else { return .fine("logins", "all users can log in by SCRAM") }
        let who = "\(first.address)\(missing.count > 1 ? " and \(missing.count - 1) more" : "")"
        switch configuration.login.scram {
        case .auto:
            return .fine("logins", "SCRAM is not offered yet: \(who) did not log in since the password was set")
        case .always:
            return .doubtful(
                "logins",
                "SCRAM refuses \(who), whose password it doesn't know",
                mend: "set login.scram to \"auto\", or martlet user password \(first.address)"
            )
        case .never: return nil
        }
    }

    /// How long a provider's keys may not have been fetched. Seconds.
    private static let oldKeys = 7 * 24 * 3600

    private func tokenFinding() -> Finding? {
        guard let file = configuration.authd.oauth?.keys else { return nil }
        let refresh = "fetch the provider's JWK Set, and see to the timer that does so (docs/accounts.md)"
        guard let octets = WholeFile.octets(file, maximum: KeySet.maximumOctets) else {
            return .wrong("logins", "\(file): \(String(cString: strerror(errno)))", mend: refresh)
        }
        do throws(JWTFault) {
            let count = try KeySet(json: octets).count
            var status = stat()
            if stat(file, &status) == 0, time(nil) - status.st_mtim.tv_sec > Self.oldKeys {
                return .doubtful("logins", "\(file) is more than a week old", mend: refresh)
            }
            return .fine("logins", "\(file) has \(count) key\(count == 1 ? "" : "s") for tokens")
        } catch {
            return .wrong("logins", "\(file): \(error)", mend: refresh)
        }
    }

    private func authoritiesFinding() -> Finding? {
        guard let file = configuration.tls.clientAuthorities else { return nil }
        let mend = "put the certificates of the authorities there, in PEM format"
        guard let octets = WholeFile.octets(file, maximum: 16 << 20) else {
            return .wrong("logins", "\(file): \(String(cString: strerror(errno)))", mend: mend)
        }
        do throws(TLSError) {
            _ = try ClientAuthorities(pem: octets)
            return nil
        } catch {
            return .wrong("logins", "\(file): \(error)", mend: mend)
        }
    }

    // MARK: The tables

    private func table<Table>(
        _ file: String,
        into findings: inout [Finding],
        maximum: Int = 256 << 20,
        isGuarded: Bool = false,
        _ parse: (String, String) throws(TableError) -> Table
    ) -> Table? {
        guard let text = WholeFile.read(file, maximum: maximum, isGuarded: isGuarded) else {
            if isGuarded, errno == EPERM || errno == ELOOP {
                findings.append(
                    .wrong(
                        "accounts",
                        "\(file) is no list that authd reads: a link, a pipe, or a file that others may write",
                        mend: "put a file there that only its owner may write"
                    )
                )
                return nil
            }
            if findings.allSatisfy({ $0.grade != .wrong }) {
                findings.append(.wrong("accounts", "\(file) cannot be read", mend: "run this as root"))
            }
            return nil
        }
        do {
            return try parse(text, file)
        } catch {
            findings += error.lines.prefix(Self.maximumLines).map { line in
                .wrong(
                    "accounts",
                    "\(error.file):\(line.number): \(line.reason)",
                    mend: "correct the line; until then authd uses what it read before, or puts off logins and mail"
                )
            }
            if error.count > Self.maximumLines {
                findings.append(
                    .wrong(
                        "accounts",
                        "\(error.file) has \(error.count) faulty lines in all",
                        mend: "correct those above and run this again"
                    )
                )
            }
            return nil
        }
    }

    /// RFC 5321 §4.5.1: every domain has a postmaster.
    private func missingPostmaster(of domain: String, _ directory: AccountDirectory) -> Finding? {
        guard let postmaster = try? MailAddress(localPart: "postmaster", domain: domain),
            directory.destination(of: postmaster) == .unknown
        else { return nil }
        return .doubtful(
            "accounts",
            "postmaster@\(domain) leads nowhere (RFC 5321 section 4.5.1)",
            mend: "add \"postmaster: ADDRESS\" to \(configuration.authd.aliases)"
        )
    }

    private func foreignUser(_ account: Account) -> Finding? {
        if configuration.domains.contains(account.address.lowercasedDomain) { return nil }
        return .doubtful(
            "accounts",
            "\(account.address) is in no domain of ours and gets no mail",
            mend: "add the domain to \"domains\", or remove the user"
        )
    }

    /// An alias wins over an account of its name.
    private func hiddenUser(_ account: Account, _ directory: AccountDirectory) -> Finding? {
        guard let entry = directory.aliasInstead(of: account) else { return nil }
        return .doubtful(
            "accounts",
            "\(account.address) gets no mail: \(configuration.authd.aliases):\(entry.line) leads elsewhere",
            mend: "add \(account.address) to the list of \(entry.name) to keep a copy, or take the alias out"
        )
    }

    private func unusableHash(_ account: Account) -> Finding? {
        if PasswordHash.isKnown(account.hash) || account.isLocked { return nil }
        return .wrong(
            "accounts",
            "\(account.address) has a password hash of no kind that authd knows, and can't log in",
            mend: "martlet user password \(account.address), or put ! in front of the hash to lock the account"
        )
    }

    private func foreignVerifier(_ account: Account) -> Finding? {
        guard account.hasForeignVerifier else { return nil }
        return .doubtful(
            "accounts",
            "\(account.address) has a verifier for SCRAM of another hash than the line has: it is not used",
            mend:
                "take it out of the line (authd makes one at the next login), or martlet user password \(account.address)"
        )
    }

    private func missingTarget(of entry: AliasTable.Entry, _ directory: AccountDirectory) -> Finding? {
        let missing = directory.missingTargets(of: entry)
        guard let first = missing.first else { return nil }
        let more = missing.count > 1 ? " and \(missing.count - 1) more" : ""
        return .wrong(
            "accounts",
            "\(configuration.authd.aliases):\(entry.line): \(entry.name) leads to \(first)\(more), which does not exist",
            mend: "correct the address, or make it: martlet user add \(first)"
        )
    }
}
