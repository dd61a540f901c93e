import Cryptography

#if canImport(Glibc)
import Glibc
#endif

/// The secret that salts for SCRAM are made of, so that each name has its own, always the same one, whether there is such an account or
/// not: who asks can't tell (RFC 5802 §9).
package struct SaltKey: Sendable {
    private let octets: [UInt8]

    private static let length = 32

    /// One that nobody else has, for as long as the process lives.
    package init() { octets = SecureRandom.octets(Self.length) }

    /// The one in a directory of authd's own. Makes it where it isn't there yet, for the owner of the directory.
    ///
    /// - Returns: nil where it can't be read, made or understood.
    package init?(directory: String) {
        let path = "\(directory)/salt-key"
        if let octets = Self.read(path) {
            self.octets = octets
            return
        }
        guard errno == ENOENT, Self.make(path, in: directory), let octets = Self.read(path) else { return nil }
        self.octets = octets
    }

    private static func read(_ path: String) -> [UInt8]? {
        guard let octets = StateFile.octets(path, maximum: 4096) else { return nil }
        errno = EINVAL
        return octets.count == length ? octets : nil
    }

    private static func make(_ path: String, in directory: String) -> Bool {
        var status = stat()
        guard stat(directory, &status) == 0 else { return false }
        let fresh = "\(path).\(SecureRandom.octets(8).map { String($0, radix: 16) }.joined())"
        let descriptor = open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { return false }
        defer {
            close(descriptor)
            unlink(fresh)
        }
        let octets = SecureRandom.octets(length)
        guard fchown(descriptor, status.st_uid, status.st_gid) == 0,
            write(descriptor, octets, octets.count) == octets.count, fsync(descriptor) == 0
        else { return false }
        // Whoever comes second takes what the first one made.
        return link(fresh, path) == 0 || errno == EEXIST
    }

    /// The salt of a name.
    package func salt(of name: String) -> [UInt8] {
        Array(MessageAuthentication.code(of: Array(name.utf8), key: octets, using: .sha256).prefix(16))
    }

    /// The salt of an account.
    package func salt(of account: Account) -> [UInt8] { salt(of: AddressKey(account.address).text) }
}
