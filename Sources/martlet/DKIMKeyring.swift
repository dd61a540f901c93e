import ArgumentParser
import Cryptography
import DNS
import Daemon
import MailAuth

#if canImport(Glibc)
import Glibc
#endif

/// The DKIM keys of one domain of an instance, for commands.
struct DKIMKeyring {
    /// In ASCII and small letters, as its directory is called.
    let domain: String
    /// Where that is.
    var path: String { "\(SelectorList.directory)/\(domain)" }
    private let directory: CInt

    /// The largest file of a private key. Octets.
    private static let maximumKeyOctets = 64 * 1024
    /// So many keys that are gone are remembered.
    private static let maximumRetired = 16

    /// The domain's keys; nobody else changes them as long as the process runs.
    ///
    /// - Parameter makes: whether the directory is made where it's missing.
    init(_ text: String, makes: Bool = false) throws {
        guard let name = MailDomain.hostName(Array(text.utf8)) else {
            throw ValidationError("\"\(text)\" is not a domain name")
        }
        let labels = name.lowercased.labels.map { String(decoding: $0, as: UTF8.self) }
        domain = labels.joined(separator: ".")
        let flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC
        let path = "\(SelectorList.directory)/\(domain)"
        if makes { try Self.make(path) }
        directory = open(path, flags)
        guard directory >= 0 else {
            throw ValidationError(
                errno == ENOENT
                    ? "\(domain) has no keys: martlet dkim keygen --domain \(domain)" : Self.reason(path)
            )
        }
        guard flock(directory, LOCK_EX) == 0 else { throw ValidationError(Self.reason(path)) }
    }

    /// The domains that have a directory.
    static func domains() -> [String] {
        guard let entries = opendir(SelectorList.directory) else { return [] }
        defer { closedir(entries) }
        var names: [String] = []
        while let entry = readdir(entries) {
            let name = withUnsafeBytes(of: entry.pointee.d_name) {
                String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
            }
            if SelectorList.isDomain(name) { names.append(name) }
        }
        return names.sorted()
    }

    /// The directory belongs to whoever reads the keys, as the one that it lies in.
    private static func make(_ path: String) throws {
        var status = stat()
        guard stat(SelectorList.directory, &status) == 0 else {
            throw ValidationError("\(reason(SelectorList.directory)): scripts/install makes it")
        }
        if mkdir(path, 0o700) == 0 {
            guard chown(path, status.st_uid, status.st_gid) == 0, chmod(path, 0o750) == 0 else {
                throw ValidationError(reason(path))
            }
        } else if errno != EEXIST {
            throw ValidationError(reason(path))
        }
    }

    private static func reason(_ path: String) -> String { "\(path): \(String(cString: strerror(errno)))" }

    /// What the list says; nothing where there is none.
    func list() throws -> SelectorList {
        let descriptor = openat(directory, SelectorList.fileName, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else {
            if errno == ENOENT { return SelectorList() }
            throw ValidationError(Self.reason("\(path)/\(SelectorList.fileName)"))
        }
        defer { close(descriptor) }
        guard let octets = WholeFile.octets(of: descriptor, maximum: SelectorList.maximumOctets) else {
            throw ValidationError(Self.reason("\(path)/\(SelectorList.fileName)"))
        }
        do {
            return try SelectorList(parsing: octets)
        } catch {
            throw ValidationError("\(path)/\(SelectorList.fileName): \(error)")
        }
    }

    func save(_ list: SelectorList) throws {
        var list = list
        let retired = list.entries.filter { $0.state == .retired }.sorted { $0.since > $1.since }
        let forgotten = Set(retired.dropFirst(Self.maximumRetired).map(\.selector))
        list.entries.removeAll { forgotten.contains($0.selector) }
        try write(list.octets, to: SelectorList.fileName)
    }

    /// Makes a key, which the list doesn't name yet.
    func generate(_ selector: String, _ algorithm: SignatureAlgorithm, bits: Int) throws -> SigningKey {
        guard let key = PrivateKey.generate(algorithm == .ed25519SHA256 ? .ed25519 : .rsa, bits: bits) else {
            throw ValidationError("OpenSSL made no key")
        }
        let signing = try named(selector, key)
        try write(key.pem, to: "\(selector).pem")
        return signing
    }

    /// A key of the list.
    func key(_ entry: SelectorList.Entry) throws -> SigningKey {
        let descriptor = openat(directory, entry.keyFile, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
        guard descriptor >= 0 else { throw ValidationError(Self.reason("\(path)/\(entry.keyFile)")) }
        defer { close(descriptor) }
        guard let pem = WholeFile.octets(of: descriptor, maximum: Self.maximumKeyOctets), let key = PrivateKey(pem: pem)
        else { throw ValidationError("\(path)/\(entry.keyFile): no private key in PEM") }
        let signing = try named(entry.selector, key)
        guard signing.name.algorithm == entry.algorithm else {
            throw ValidationError("\(path)/\(entry.keyFile) is no key for \(entry.algorithm.rawValue)")
        }
        return signing
    }

    /// Takes a private key away for good.
    func remove(_ entry: SelectorList.Entry) throws {
        guard unlinkat(directory, entry.keyFile, 0) == 0 || errno == ENOENT, fsync(directory) == 0 else {
            throw ValidationError(Self.reason("\(path)/\(entry.keyFile)"))
        }
    }

    private func named(_ selector: String, _ key: PrivateKey) throws -> SigningKey {
        do throws(DKIMSigningError) {
            return try SigningKey(domain: Array(domain.utf8), selector: Array(selector.utf8), key: key)
        } catch {
            throw ValidationError(
                error == .badKey
                    ? "\(path)/\(selector).pem: neither an RSA key of 1024 bits or more nor an Ed25519 key"
                    : "\"\(selector)._domainkey.\(domain)\" is not a domain name"
            )
        }
    }

    private func write(_ octets: [UInt8], to name: String) throws {
        var status = stat()
        guard fstat(directory, &status) == 0 else { throw ValidationError(Self.reason(path)) }
        var file = StateFile(directory: directory, name: name)
        file.mode = 0o640
        file.group = status.st_gid
        do {
            try file.replace(with: String(decoding: octets, as: UTF8.self))
        } catch {
            throw ValidationError("\(path): \(error)")
        }
    }
}
