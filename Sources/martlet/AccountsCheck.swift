import Authority
import Daemon
import SMTP

/// Whether the tables of users and aliases can be read, and have what the standards ask for.
struct AccountsCheck {
    private let configuration: Configuration

    init(_ configuration: Configuration) { self.configuration = configuration }

    func findings() -> [Finding] {
        let settings = configuration.authd
        var findings: [Finding] = []
        let users = table(settings.users, into: &findings, AccountTable.init(text:file:))
        let aliases = table(settings.aliases, into: &findings, AliasTable.init(text:file:))
        guard let users, let aliases else { return findings }
        let directory = AccountDirectory(accounts: users, aliases: aliases, domains: configuration.domains)
        findings.append(.fine("accounts", "\(users.all.count) users in \(configuration.domains.count) domains"))
        findings += configuration.domains.compactMap { missingPostmaster(of: $0, directory) }
        findings += users.all.compactMap(foreignUser)
        return findings
    }

    private func table<Table>(
        _ file: String,
        into findings: inout [Finding],
        _ parse: (String, String) throws(TableError) -> Table
    ) -> Table? {
        guard let text = WholeFile.read(file, maximum: 256 << 20) else {
            findings.append(.wrong("accounts", "\(file) cannot be read", mend: "make it, and run this as root"))
            return nil
        }
        do {
            return try parse(text, file)
        } catch {
            findings.append(
                .wrong("accounts", "\(error)", mend: "correct the line; authd uses the former table so long")
            )
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
}
