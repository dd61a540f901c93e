import Authority
import MIME
import SMTP

/// A user as commands show it.
struct UserEntry: Encodable {
    let address: String
    let mailbox: String
    let format: String
    /// Octets; 0 for none.
    let quota: Int
    let disabled: Bool
    /// Whether SCRAM knows the password.
    let scram: Bool
    let appPasswords: Int
    /// One that was just made.
    var password: String?

    /// - Parameter passwords: all app passwords.
    init(_ account: Account, _ records: AuthorityRecords, _ passwords: AppPasswordTable) {
        address = account.address.description
        mailbox = account.mailbox
        format = account.format.rawValue
        quota = account.quota
        disabled = account.isLocked
        scram = records.verifier(of: account) != nil
        appPasswords = passwords[account.address].count
    }

    /// For people.
    var line: String {
        var words = ["\(address)  \(format) \(mailbox)", quota == 0 ? "no quota" : "quota \(quota)"]
        if disabled { words.append("disabled") }
        if !scram { words.append("no SCRAM yet") }
        if appPasswords > 0 { words.append("\(appPasswords) app password\(appPasswords == 1 ? "" : "s")") }
        return words.joined(separator: ", ")
    }
}

/// An app password as commands show it.
struct AppPasswordEntry: Encodable {
    let name: String
    let services: [String]
    /// Seconds since 1970; nil for never.
    let lastUse: Int?
    let scram: Bool
    /// One that was just made.
    var password: String?

    init(_ password: AppPassword, lastUse: Int?) {
        name = password.name
        services = password.services.isEmpty ? AppPassword.knownServices : password.services
        self.lastUse = lastUse
        scram = password.verifier != nil
    }

    /// For people.
    var line: String {
        let use = lastUse.map { "last used \(DateTime(secondsSince1970: $0))" } ?? "never used"
        return "\(name): \(services.joined(separator: " ")), \(use)"
    }
}
