import DNS
import Daemon

#if canImport(Glibc)
import Glibc
#endif

/// A zone's master file, reached from its directory's descriptor: after rights were given up its path may be out of
/// reach.
package struct ZoneFile: Sendable {
    /// The zone's top.
    package let origin: DomainName
    /// The open directory that the file lies in. $INCLUDE reaches only what is in or below it.
    let directory: CInt
    /// The file's name in the directory.
    let name: String
    /// The path as the administrator wrote it, for messages.
    let path: String
    /// Whether the zone is signed as it's asked, so that the file must have no signatures.
    package var isSigned = false

    package init(origin: DomainName, directory: CInt, name: String, path: String, isSigned: Bool = false) {
        self.origin = origin
        self.directory = directory
        self.name = name
        self.path = path
        self.isSigned = isSigned
    }

    /// The most octets that a master file may have.
    static let maximumOctets = 256 << 20

    /// A zone, and the files that it was read from as they were then.
    struct Loaded {
        var zone: Result<Zone, MasterFileError>
        var versions: [String: FileVersion?]
        /// Of all the files together.
        var content = FileContent()
    }

    /// Reads the file and what it includes. Blocks.
    func load() -> Loaded {
        var versions: [String: FileVersion?] = [name: version(of: name)]
        var all = FileContent()
        let zone = Result { () throws(MasterFileError) -> Zone in
            let octets: [UInt8]
            switch read(name, followsLinks: true) {
            case .success(let content):
                octets = content
                all.add(content)
            case .failure(let error): throw MasterFileError(file: path, line: 0, reason: error.reason)
            }
            let records = try MasterFile.parse(octets, file: path, origin: origin) { included in
                versions[included] = version(of: included)
                let result = read(included, followsLinks: false)
                if case .success(let content) = result { all.add(content) }
                return result
            }
            if isSigned, let record = records.first(where: { SignedZone.ownTypes.contains($0.record.type) }) {
                let reason = "\(record.record.type) in a zone that is signed as it is asked"
                throw MasterFileError(file: record.file, line: record.line, reason: reason)
            }
            return try Zone(origin: origin, file: path, records: records)
        }
        return Loaded(zone: zone, versions: versions, content: all)
    }

    /// How a file is now; nil when it can't be reached.
    func version(of name: String) -> FileVersion? { isBelow(name) ? FileVersion(of: name, in: directory) : nil }

    private func isBelow(_ name: String) -> Bool {
        let parts = name.split(separator: "/", omittingEmptySubsequences: false)
        return !name.isEmpty && parts.allSatisfy { !$0.isEmpty && $0 != ".." } && !name.utf8.contains(0)
    }

    private func read(_ name: String, followsLinks: Bool) -> Result<[UInt8], MasterFileIncludeError> {
        guard isBelow(name) else {
            return .failure(MasterFileIncludeError(reason: "a path below the zone's directory is needed"))
        }
        let descriptor = open(name, followsLinks: followsLinks)
        guard descriptor >= 0 else { return .failure(Self.systemError()) }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { return .failure(Self.systemError()) }
        guard status.st_mode & S_IFMT == S_IFREG else { return .failure(MasterFileIncludeError(reason: "not a file")) }
        guard status.st_size <= Self.maximumOctets else {
            return .failure(MasterFileIncludeError(reason: "larger than 256 MiB"))
        }
        guard let content = WholeFile.octets(of: descriptor, maximum: Self.maximumOctets) else {
            return .failure(
                errno == EFBIG ? MasterFileIncludeError(reason: "larger than 256 MiB") : Self.systemError()
            )
        }
        return .success(content)
    }

    /// Opens the file step by step, so that no symbolic link leads elsewhere.
    private func open(_ name: String, followsLinks: Bool) -> CInt {
        let flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK
        if followsLinks { return openat(directory, name, flags) }
        var current = directory
        let parts = name.split(separator: "/").map(String.init)
        for (index, part) in parts.enumerated() {
            let isLast = index == parts.count - 1
            let next = openat(current, part, flags | O_NOFOLLOW | (isLast ? 0 : O_DIRECTORY))
            let reason = errno
            if current != directory { close(current) }
            guard next >= 0 else {
                errno = reason
                return -1
            }
            current = next
        }
        return current == directory ? -1 : current
    }

    private static func systemError() -> MasterFileIncludeError {
        MasterFileIncludeError(reason: String(cString: strerror(errno)))
    }
}
