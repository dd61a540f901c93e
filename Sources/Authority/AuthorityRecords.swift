import SASL
import SMTP

#if canImport(Glibc)
import Glibc
#endif

/// What authd remembers beside its tables, as it stands in a directory of its own: verifiers for SCRAM that it made at logins, when
/// app passwords were used last, and what accounts have sent. Nothing of it is needed: what can't be read is made again.
package struct AuthorityRecords: Sendable {
    /// A verifier and the password's hash that it was made beside: another hash is another password.
    private struct Made {
        let mark: String
        let verifier: ScramVerifier
    }

    /// Its files.
    enum File: String, CaseIterable {
        case verifiers
        case uses = "last-use"
        case sending

        func path(in directory: String) -> String { "\(directory)/\(rawValue)" }
    }

    private var verifiers: [AddressKey: Made] = [:]
    private var uses: [AddressKey: [String: Int]] = [:]
    /// What accounts have sent.
    var sending = SendingCounts()
    /// Files that are there and couldn't be read: what they say is not known, and they are not to be written over.
    package private(set) var unreadable: Set<String> = []

    private static let maximumOctets = 64 << 20

    init() {}

    /// Reads what is there. What isn't understood is passed over.
    package init(directory: String) {
        for line in lines(of: File.verifiers.path(in: directory)) {
            let fields = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
            guard fields.count == 3, let verifier = ScramVerifier(parsing: fields[2]),
                let address = try? MailAddress(parsing: fields[0].utf8, options: .utf8)
            else { continue }
            verifiers[AddressKey(address)] = Made(mark: String(fields[1]), verifier: verifier)
        }
        for line in lines(of: File.uses.path(in: directory)) {
            let fields = line.split(separator: ":", omittingEmptySubsequences: false)
            guard fields.count == 3, let time = Int(fields[2]),
                let address = try? MailAddress(parsing: fields[0].utf8, options: .utf8)
            else { continue }
            uses[AddressKey(address), default: [:]][String(fields[1])] = time
        }
        sending = SendingCounts(lines: lines(of: File.sending.path(in: directory)))
    }

    private mutating func lines(of file: String) -> [Substring] {
        if let octets = StateFile.octets(file, maximum: Self.maximumOctets) {
            return String(decoding: octets, as: UTF8.self).split(separator: "\n")
        }
        if errno != ENOENT { unreadable.insert(file) }
        return []
    }

    /// The lines of a file.
    func lines(of file: File) -> [String] {
        switch file {
        case .verifiers:
            verifiers.map { "\($0.key.text):\($0.value.mark):\($0.value.verifier.text)" }.sorted()
        case .uses:
            uses.flatMap { key, names in names.map { "\(key.text):\($0.key):\($0.value)" } }.sorted()
        case .sending: sending.lines
        }
    }

    // MARK: Verifiers

    /// The verifier of an account's password: the table's, or one that was made at a login.
    package func verifier(of account: Account) -> ScramVerifier? {
        if let verifier = account.verifier { return verifier }
        guard let made = verifiers[AddressKey(account.address)], made.mark == Account.mark(account.hash) else {
            return nil
        }
        return made.verifier
    }

    mutating func keep(_ verifier: ScramVerifier, of account: Account) {
        verifiers[AddressKey(account.address)] = Made(mark: Account.mark(account.hash), verifier: verifier)
    }

    /// Forgets the verifiers of accounts that are gone or have another password.
    ///
    /// - Returns: whether there were any.
    mutating func forgetVerifiers(allBut accounts: AccountTable) -> Bool {
        let kept = verifiers.filter { key, made in
            accounts[key].map { $0.verifier == nil && Account.mark($0.hash) == made.mark } ?? false
        }
        defer { verifiers = kept }
        return kept.count != verifiers.count
    }

    // MARK: Uses

    /// When an app password was used last, in seconds since 1970; nil for never.
    package func lastUse(of password: AppPassword) -> Int? { uses[AddressKey(password.address)]?[password.name] }

    mutating func used(_ password: AppPassword, at time: Int) {
        uses[AddressKey(password.address), default: [:]][password.name] = time
    }

    /// Forgets the uses of app passwords that are gone.
    ///
    /// - Returns: whether there were any.
    mutating func forgetUses(allBut passwords: AppPasswordTable) -> Bool {
        var isChanged = false
        for (key, names) in uses {
            let known = Set(passwords[key].map(\.name))
            let kept = names.filter { known.contains($0.key) }
            guard kept.count != names.count else { continue }
            uses[key] = kept.isEmpty ? nil : kept
            isChanged = true
        }
        return isChanged
    }
}
