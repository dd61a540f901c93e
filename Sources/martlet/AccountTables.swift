import ArgumentParser
import Authority
import Daemon
import SASL
import SMTP

/// The tables that authd reads, for commands that edit them.
struct AccountTables {
    let configuration: Configuration
    let users: AccountFileEditor
    let aliases: AliasFileEditor
    let domains: DomainListEditor
    let appPasswords: AppPasswordEditor
    let certificates: CertificateEditor
    let senders: SenderEditor
    /// What authd remembers; nothing where that can't be read.
    let records: AuthorityRecords

    private static let file = "etc/martlet.toml"

    init(_ instance: InstanceOptions) throws {
        try instance.enter()
        configuration = try Configuration.load(Self.file)
        let authd = configuration.authd
        users = AccountFileEditor(file: authd.users)
        aliases = AliasFileEditor(file: authd.aliases)
        domains = DomainListEditor(file: Self.file)
        appPasswords = AppPasswordEditor(file: authd.appPasswords, users: authd.users)
        certificates = CertificateEditor(file: authd.certificates, users: authd.users)
        senders = SenderEditor(file: authd.senders, users: authd.users)
        records = AuthorityRecords(directory: AuthdConfiguration.stateDirectory)
    }

    /// Reads all that belongs to users, so that an edit of several tables doesn't stop halfway.
    func readAll() throws {
        _ = try users.accounts()
        _ = try appPasswords.all()
        try certificates.check()
    }

    /// Gives an account a password: its hash, and what SCRAM needs.
    func give(_ password: String, to account: inout Account) throws {
        guard let hash = PasswordHash.make(password) else {
            throw ValidationError("a password has at most \(PasswordHash.maximumPassword) octets")
        }
        account.hash = hash
        account.verifier = try verifier(of: password, like: appPasswordVerifier(of: account), of: account)
    }

    /// What SCRAM knows a password by; nil where SCRAM is off, or has no way to write the password. All of an account's have the same
    /// salt: the client is told it before anybody knows which of them it has.
    private func verifier(of password: String, like known: ScramVerifier?, of account: Account) -> ScramVerifier? {
        guard configuration.login.scram != .never else { return nil }
        if let known { return ScramVerifier(password: password, salt: known.salt, iterations: known.iterations) }
        let key = SaltKey(directory: AuthdConfiguration.stateDirectory) ?? SaltKey()
        return ScramVerifier(
            password: password,
            salt: key.salt(of: account),
            iterations: configuration.authd.scramIterations
        )
    }

    /// What SCRAM knows an app password by.
    func verifier(ofAppPassword secret: String, of account: Account) throws -> ScramVerifier? {
        try verifier(of: secret, like: records.verifier(of: account) ?? appPasswordVerifier(of: account), of: account)
    }

    private func appPasswordVerifier(of account: Account) throws -> ScramVerifier? {
        try appPasswords.passwords(of: account.address).lazy.compactMap(\.verifier).first
    }

    /// Users as commands show them.
    func entries(_ accounts: [Account]) throws -> [UserEntry] {
        let passwords = try appPasswords.all()
        return accounts.map { UserEntry($0, records, passwords) }
    }

    func entry(_ account: Account) throws -> UserEntry { UserEntry(account, records, try appPasswords.all()) }

    func appPasswordEntries(of address: MailAddress) throws -> [AppPasswordEntry] {
        try appPasswords.passwords(of: address).map { AppPasswordEntry($0, lastUse: records.lastUse(of: $0)) }
    }
}
