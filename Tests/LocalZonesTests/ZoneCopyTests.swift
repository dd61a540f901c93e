import DNS
import DNSFixtures
import Testing

@testable import LocalZones

#if canImport(Glibc)
import Glibc
#endif

/// The copy of a secondary zone, and how old it's taken to be.
struct ZoneCopyTests {
    @Test func theStateOfAnotherVersionSaysNothing() throws {
        var template = Array("/tmp/martlet-copy-XXXXXX".utf8CString)
        let path = try #require(mkdtemp(&template).map { String(cString: $0) })
        let directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        defer {
            for name in ["zone", "zone.state"] { unlink("\(path)/\(name)") }
            close(directory)
            rmdir(path)
        }
        let origin = try DomainName("in.test")
        let copy = ZoneCopy(file: ZoneFile(origin: origin, directory: directory, name: "zone", path: "dns/zone"))
        let start = try record("in.test. 300 IN SOA ns.in.test. root.in.test. 7 3600 900 86400 300")
        try copy.write(try Zone(origin: origin, records: [start]), confirmed: 2000)
        #expect(try copy.load()?.get().confirmed == 2000)
        let modified = Int64(try #require(copy.file.version(of: "zone")).modified)
        // A later version was confirmed, and couldn't be written.
        try copy.confirm(8, at: 4_000_000_000)
        #expect(try copy.load()?.get().confirmed == modified)
        for text in ["serial: 7\nconfirmed: -9223372036854775808\n", "nonsense", ""] {
            try TestFile.write(text, to: "\(path)/zone.state")
            #expect(try copy.load()?.get().confirmed == modified)
        }
    }
}
