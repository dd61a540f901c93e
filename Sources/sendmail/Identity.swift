import ArgumentParser
import Daemon
import SMTP

#if canImport(Glibc)
import Glibc
#endif

/// The sending user, and the names of this machine.
struct Identity {
    let hostname: String
    /// What is added to addresses without a domain.
    let domain: String
    /// The calling user's login name.
    let user: String
    /// The calling user's full name.
    let fullName: String

    /// Goes to the instance directory; where its configuration can't be read, the system's host name has to do.
    static func find() throws -> Identity {
        do {
            try InstanceOptions.parse([]).enter()
        } catch {
            throw Failure(.temporary, "\(error)")
        }
        let entry = getpwuid(getuid())?.pointee
        let user = entry.map { String(cString: $0.pw_name) } ?? "uid\(getuid())"
        let name = entry.map { String(cString: $0.pw_gecos) }?.split(separator: ",").first.map(String.init) ?? ""
        do {
            let configuration = try Configuration.load("etc/martlet.toml")
            return Identity(
                hostname: configuration.hostname,
                domain: configuration.domains.first ?? configuration.hostname,
                user: user,
                fullName: name
            )
        } catch  where access("etc/martlet.toml", R_OK) == 0 {
            throw Failure(.configuration, "\(error)")
        } catch {
            var space = [CChar](repeating: 0, count: 256)
            gethostname(&space, space.count - 1)
            let host = String(decoding: space.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
            return Identity(hostname: host, domain: host, user: user, fullName: name)
        }
    }

    /// The address with a domain, as a path with its brackets.
    ///
    /// - Throws: `Failure` with EX_USAGE where it's not an address.
    func path(_ text: String) throws -> String {
        var address = text
        // As programs copy it out of a From field: `Alice <alice@example.org>`.
        if text.last == ">", text.first != "<" {
            let found = AddressList.addresses(Array(text.utf8))
            guard found.count == 1 else { throw Failure(.usage, "not one address: \(text)") }
            address = found[0]
        }
        if address.hasPrefix("<"), address.hasSuffix(">") { address = String(address.dropFirst().dropLast()) }
        if !address.utf8.contains(UInt8(ascii: "@")) { address += "@\(domain)" }
        guard let parsed = try? MailAddress(parsing: address.utf8, options: .utf8) else {
            throw Failure(.usage, "not an address: \(text)")
        }
        return "<\(parsed)>"
    }

    /// The calling user's own address.
    var address: String { "\(user)@\(domain)" }
}
