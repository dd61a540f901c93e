import Cryptography
import Encodings
import SASL
import SMTP

/// A password of one program or device, for chosen services; one line of `etc/app-passwords`:
/// `address:name:services:hash:verifier`.
package struct AppPassword: Sendable, Equatable {
    package let address: MailAddress
    /// What the user calls it.
    package let name: String
    /// What it's good for; empty for everything.
    package let services: [String]
    package let hash: String
    /// nil where it's not good for SCRAM.
    package let verifier: ScramVerifier?

    package init(
        address: MailAddress,
        name: String,
        services: [String],
        hash: String,
        verifier: ScramVerifier?
    ) {
        self.address = address
        self.name = name
        self.services = services
        self.hash = hash
        self.verifier = verifier
    }

    /// The services that authd gives logins for.
    package static let knownServices = ["smtp", "pop3", "imap"]

    package func isGood(for service: String) -> Bool { services.isEmpty || services.contains(service) }

    /// Whether a name can stand in the table and in a line of text.
    package static func isName(_ name: some StringProtocol) -> Bool {
        (1...64).contains(name.utf8.count) && name.first != " " && name.last != " " && name.first != "#"
            && name.unicodeScalars.allSatisfy {
                $0 != ":" && $0.value != 0xfffd && $0.properties.generalCategory != .control
            }
    }

    // MARK: The secret

    /// 24 characters, about 118 bits, which nobody finds by trying. So a fast hash is enough, and a login with it costs nobody
    /// anything.
    package static func generate() -> String { RandomPassword.make(24) }

    private static let scheme = "$sha256$"

    /// - Parameter secret: from `generate`: the hash protects nothing that can be guessed.
    package static func hash(of secret: String) -> String {
        let salt = SecureRandom.octets(16)
        return scheme + Base64.text(salt) + "$" + Base64.text(digest(secret, salt))
    }

    package func isRight(_ secret: String) -> Bool {
        guard let (salt, digest) = Self.parts(of: hash), secret.utf8.count <= PasswordHash.maximumPassword else {
            return false
        }
        return MessageAuthentication.areEqual(Self.digest(secret, salt), digest)
    }

    private static func digest(_ secret: String, _ salt: [UInt8]) -> [UInt8] {
        HashFunction.sha256.digest(of: salt + Array(secret.utf8))
    }

    private static func parts(of hash: some StringProtocol) -> (salt: [UInt8], digest: [UInt8])? {
        guard hash.hasPrefix(scheme) else { return nil }
        let parts = hash.dropFirst(scheme.count).split(separator: "$", omittingEmptySubsequences: false)
        guard parts.count == 2, let salt = Base64.decode(parts[0].utf8), let digest = Base64.decode(parts[1].utf8),
            salt.count >= 8, digest.count == 32
        else { return nil }
        return (salt, digest)
    }

    // MARK: The line

    static func parse(_ line: Substring) -> Result<AppPassword, TableFault> {
        if let reason = TableLines.fault(of: line) { return .failure(TableFault(reason)) }
        let fields = line.split(separator: ":", omittingEmptySubsequences: false)
        guard (4...5).contains(fields.count) else {
            return .failure(TableFault("expected address:name:services:hash:verifier"))
        }
        guard let address = try? MailAddress(parsing: fields[0].utf8, options: .utf8) else {
            return .failure(TableFault("\"\(fields[0])\" is not an address"))
        }
        guard isName(fields[1]) else { return .failure(TableFault("\"\(fields[1])\" is no name")) }
        let services = fields[2] == "*" ? [] : fields[2].split(separator: ",", omittingEmptySubsequences: false)
        if let other = services.first(where: { !knownServices.contains(String($0)) }) {
            return .failure(TableFault("\"\(other)\" is none of \(knownServices.joined(separator: ", "))"))
        }
        guard parts(of: fields[3]) != nil else {
            return .failure(TableFault("the hash is not one that martlet user app-password makes"))
        }
        let verifier = fields.count > 4 && !fields[4].isEmpty ? ScramVerifier(parsing: fields[4]) : nil
        guard verifier != nil || fields.count < 5 || fields[4].isEmpty else {
            return .failure(TableFault("the verifier is none of SCRAM's"))
        }
        return .success(
            AppPassword(
                address: address,
                name: String(fields[1]),
                services: services.map { String($0) },
                hash: String(fields[3]),
                verifier: verifier
            )
        )
    }

    /// As a line of the table.
    package var line: String {
        let services = services.isEmpty ? "*" : services.joined(separator: ",")
        return "\(address):\(name):\(services):\(hash)" + (verifier.map { ":\($0.text)" } ?? "")
    }
}

/// `etc/app-passwords` as it was read.
package struct AppPasswordTable: Sendable {
    private var passwords: [AddressKey: [AppPassword]] = [:]

    /// Of one account: each is tried with each login.
    package static let maximumPerAccount = 50

    package init() {}

    /// - Throws: `TableError` with every line that can't be understood, or names a password again.
    package init(text: String, file: String) throws(TableError) {
        var faults = TableFaults(file: file)
        for (number, line) in TableLines(text) {
            switch AppPassword.parse(line) {
            case .failure(let fault): faults.add(line: number, reason: fault.reason)
            case .success(let password):
                let key = AddressKey(password.address)
                let known = passwords[key, default: []]
                if known.contains(where: { $0.name == password.name }) {
                    faults.add(line: number, reason: "\(password.address) has a password \(password.name) already")
                } else if known.count >= Self.maximumPerAccount {
                    faults.add(line: number, reason: "more than \(Self.maximumPerAccount) of \(password.address)")
                } else {
                    passwords[key] = known + [password]
                }
            }
        }
        try faults.check()
    }

    /// Whose they are.
    package var addresses: [MailAddress] {
        passwords.values.compactMap(\.first?.address).sorted { $0.description < $1.description }
    }

    /// Those of one account, in the order of their lines.
    package subscript(address: MailAddress) -> [AppPassword] { self[AddressKey(address)] }

    subscript(key: AddressKey) -> [AppPassword] { passwords[key] ?? [] }
}
