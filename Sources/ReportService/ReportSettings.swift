import Daemon
import NIOCore
import SMTP

/// What reportd is told by the configuration.
package struct ReportSettings: Sendable {
    /// Who reports; nil where nobody does.
    package var organization: String?
    /// Whom one may ask about reports.
    package var contact = ""
    /// The same, for people.
    package var extraContact: String?
    /// Where reports come from.
    package var from: MailAddress
    /// Our host's name, in Message-IDs.
    package var hostname: String
    /// After the end of a day, how long until its reports go out. Seconds.
    package var delay = 3600
    /// Octets of all rows of a day.
    package var maximumRows = 32 << 20
    /// How long unsent reports are tried. Days.
    package var lifetime = 3

    package init(from: MailAddress, hostname: String) {
        self.from = from
        self.hostname = hostname
        contact = from.description
    }

    /// nil where reports are off.
    package init?(_ configuration: Configuration) {
        let reports = configuration.reports
        guard reports.isOn, let organization = reports.organization, let from = reports.from else { return nil }
        self.init(from: from, hostname: configuration.hostname)
        self.organization = organization
        contact = reports.contact ?? from.description
        extraContact = reports.extraContact
        delay = Int(reports.delay.nanoseconds / 1_000_000_000)
        maximumRows = reports.maximumRows
    }

    /// The domain that reports.
    var submitter: String { from.domain }
}
