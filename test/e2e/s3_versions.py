#!/usr/bin/env python3
"""Versions at the S3 door: on, suspended, null versions, delete markers, lists.

    s3_versions.py BINARY [TEST...]

To be run by the Python of a venv with boto3 (`./dev s3-tools` makes it). Prints
`LAYER s3-versions required= executed= failed=`, where one test is one function below.
"""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from s3 import Door, refused  # noqa: E402
from s3_raw import code_of  # noqa: E402
from smoke import expect  # noqa: E402
from suite import Suite  # noqa: E402

SUITE = Suite('s3-versions')


def test(function):
    """Marks a test of the door: its bucket `buc` keeps versions."""
    def call(server):
        door = Door(server)
        door.s3.create_bucket(Bucket='buc')
        versioning(door, 'Enabled')
        function(door)
    return SUITE.at_both_doors(function, call)


def versioning(door, status):
    door.s3.put_bucket_versioning(Bucket='buc', VersioningConfiguration={'Status': status})


def put(door, key, body):
    return door.s3.put_object(Bucket='buc', Key=key, Body=body)['VersionId']


def read(door, key, **more):
    return door.s3.get_object(Bucket='buc', Key=key, **more)['Body'].read()


def listed(door, **more):
    """(key, version, kind, latest) of each, versions before markers as S3 sorts them in XML."""
    answer = door.s3.list_object_versions(Bucket='buc', **more)
    return ([(v['Key'], v['VersionId'], 'v', v['IsLatest']) for v in answer.get('Versions', [])]
            + [(v['Key'], v['VersionId'], 'm', v['IsLatest'])
               for v in answer.get('DeleteMarkers', [])])


@test
def configuration(door):
    s3 = door.s3
    expect(s3.get_bucket_versioning(Bucket='buc')['Status'], 'Enabled')
    versioning(door, 'Suspended')
    expect(s3.get_bucket_versioning(Bucket='buc')['Status'], 'Suspended')
    versioning(door, 'Enabled')
    s3.create_bucket(Bucket='plain')
    expect('Status' in s3.get_bucket_versioning(Bucket='plain'), False)
    expect('VersionId' in s3.put_object(Bucket='plain', Key='k', Body=b'x'), False)
    expect('VersionId' in s3.get_object(Bucket='plain', Key='k'), False)
    for body in (b'', b'<a/>', b'<VersioningConfiguration/>',
                 b'<VersioningConfiguration><Status>Off</Status></VersioningConfiguration>'):
        expect(code_of(door.raw.call('PUT', '/buc', 'versioning=', body)), 'MalformedXML', body)
    refused(s3.put_bucket_versioning, 'NoSuchBucket', 404, Bucket='absent',
            VersioningConfiguration={'Status': 'Enabled'})
    refused(s3.put_bucket_versioning, 'NotImplemented', 501, Bucket='buc',
            VersioningConfiguration={'Status': 'Enabled', 'MFADelete': 'Enabled'}, MFA='1 2')
    expect([b['Name'] for b in s3.list_buckets()['Buckets']], ['buc', 'files', 'plain'])


@test
def reads(door):
    """Each version by its id; what is no version; a marker has no content."""
    s3 = door.s3
    ids = [put(door, 'k', b'%d' % n) for n in range(3)]
    expect(len(set(ids)), 3)
    for n, version in enumerate(ids):
        got = s3.get_object(Bucket='buc', Key='k', VersionId=version)
        expect((got['Body'].read(), got['VersionId']), (b'%d' % n, version))
        expect(s3.head_object(Bucket='buc', Key='k', VersionId=version)['VersionId'], version)
    got = s3.get_object(Bucket='buc', Key='k')
    expect((got['Body'].read(), got['VersionId']), (b'2', ids[2]))
    marker = s3.delete_object(Bucket='buc', Key='k')
    expect((marker['DeleteMarker'], marker['VersionId'] in ids), (True, False))
    answer = refused(s3.get_object, 'NoSuchKey', 404, Bucket='buc', Key='k')
    headers = answer['ResponseMetadata']['HTTPHeaders']
    expect((headers['x-amz-delete-marker'], headers['x-amz-version-id']),
           ('true', marker['VersionId']))
    answer = refused(s3.get_object, 'MethodNotAllowed', 405, Bucket='buc', Key='k',
                     VersionId=marker['VersionId'])
    expect(answer['ResponseMetadata']['HTTPHeaders']['x-amz-delete-marker'], 'true')
    refused(s3.head_object, '405', 405, Bucket='buc', Key='k', VersionId=marker['VersionId'])
    expect(read(door, 'k', VersionId=ids[1]), b'1')
    refused(s3.get_object, 'NoSuchVersion', 404, Bucket='buc', Key='k', VersionId='null')
    refused(s3.get_object, 'NoSuchVersion', 404, Bucket='buc', Key='absent', VersionId=ids[0])
    refused(s3.get_object, 'InvalidArgument', 400, Bucket='buc', Key='k', VersionId='what')
    answer = door.raw.call('PUT', '/buc/k', f'versionId={ids[0]}', b'x')
    expect((answer.status, code_of(answer)), (400, 'InvalidArgument'))
    rest = door.server.request('GET', f'{door.server.name_path("buc", "k")}?version={ids[0]}')
    expect(rest.body, b'0')


@test
def deletes(door):
    """One version, a marker, and many at once."""
    s3 = door.s3
    ids = [put(door, 'k', b'%d' % n) for n in range(3)]
    expect(s3.delete_object(Bucket='buc', Key='k', VersionId=ids[2])['VersionId'], ids[2])
    expect(read(door, 'k'), b'1')
    marker = s3.delete_object(Bucket='buc', Key='k')['VersionId']
    gone = s3.delete_object(Bucket='buc', Key='k', VersionId=marker)
    expect((gone['DeleteMarker'], gone['VersionId']), (True, marker))
    expect(read(door, 'k'), b'1')
    s3.delete_object(Bucket='buc', Key='k', VersionId=marker)  # again: as good as done
    refused(s3.delete_object, 'InvalidArgument', 400, Bucket='buc', Key='k', VersionId='what')
    marker = s3.delete_object(Bucket='buc', Key='k')['VersionId']
    other = put(door, 'other', b'o')
    answer = s3.delete_objects(Bucket='buc', Delete={'Objects': [
        {'Key': 'k', 'VersionId': marker}, {'Key': 'k', 'VersionId': ids[0]}, {'Key': 'other'},
        {'Key': 'other', 'VersionId': 'null'}, {'Key': 'k', 'VersionId': 'what'}]})
    expect([(e['Key'], e['Code']) for e in answer['Errors']],
           [('other', 'NoSuchVersion'), ('k', 'InvalidArgument')])
    deleted = answer['Deleted']
    expect([(d['Key'], d.get('VersionId'), d.get('DeleteMarker', False)) for d in deleted],
           [('k', marker, True), ('k', ids[0], False), ('other', None, True)])
    expect(deleted[0]['DeleteMarkerVersionId'], marker)
    new_marker = deleted[2]['DeleteMarkerVersionId']
    expect(listed(door), [('k', ids[1], 'v', True), ('other', other, 'v', False),
                          ('other', new_marker, 'm', True)])
    expect(read(door, 'k'), b'1')


@test
def suspended(door):
    """The null version: one of a name, taken the place of; those with ids stay."""
    s3 = door.s3
    s3.create_bucket(Bucket='old')
    s3.put_object(Bucket='old', Key='k', Body=b'before')
    s3.put_bucket_versioning(Bucket='old', VersioningConfiguration={'Status': 'Enabled'})
    first = s3.put_object(Bucket='old', Key='k', Body=b'kept')['VersionId']
    expect(s3.get_object(Bucket='old', Key='k', VersionId='null')['Body'].read(), b'before')
    s3.put_bucket_versioning(Bucket='old', VersioningConfiguration={'Status': 'Suspended'})
    expect(s3.put_object(Bucket='old', Key='k', Body=b'null 1')['VersionId'], 'null')
    got = s3.get_object(Bucket='old', Key='k')
    expect((got['Body'].read(), got['VersionId']), (b'null 1', 'null'))
    s3.put_object(Bucket='old', Key='k', Body=b'null 2')
    versions = s3.list_object_versions(Bucket='old')['Versions']
    expect([(v['VersionId'], v['IsLatest']) for v in versions], [('null', True), (first, False)])
    marker = s3.delete_object(Bucket='old', Key='k')
    expect((marker['DeleteMarker'], marker['VersionId']), (True, 'null'))
    refused(s3.get_object, 'MethodNotAllowed', 405, Bucket='old', Key='k', VersionId='null')
    s3.delete_object(Bucket='old', Key='k', VersionId='null')
    expect(s3.get_object(Bucket='old', Key='k')['Body'].read(), b'kept')


@test
def lists(door):
    """ListObjectVersions by prefix, delimiter and pages."""
    s3 = door.s3
    made = []
    for key in ('a', 'b/1', 'b/2', 'z', 'ü &'):
        ids = [put(door, key, b'%d' % n) for n in range(3)]
        made += [(key, version, 'v', version == ids[2]) for version in reversed(ids)]
    expect(listed(door), made)
    expect(listed(door, Prefix='b/'), [row for row in made if row[0].startswith('b/')])
    answer = s3.list_object_versions(Bucket='buc', Delimiter='/')
    expect([p['Prefix'] for p in answer['CommonPrefixes']], ['b/'])
    expect([v['Key'] for v in answer['Versions']], ['a'] * 3 + ['z'] * 3 + ['ü &'] * 3)
    for size in (1, 2, 4, 100):
        got, marker = [], {}
        while True:
            answer = s3.list_object_versions(Bucket='buc', MaxKeys=size, **marker)
            got += [(v['Key'], v['VersionId'], 'v', v['IsLatest']) for v in answer['Versions']]
            if not answer['IsTruncated']:
                break
            marker = {'KeyMarker': answer['NextKeyMarker'],
                      'VersionIdMarker': answer['NextVersionIdMarker']}
        expect(got, made, size)
    expect(listed(door, KeyMarker='b/2'), [row for row in made if row[0] > 'b/2'])
    expect(len(listed(door, MaxKeys=0)), 0)
    refused(s3.list_object_versions, 'InvalidArgument', 400, Bucket='buc', VersionIdMarker='x')
    refused(s3.list_object_versions, 'NoSuchBucket', 404, Bucket='absent')
    s3.delete_object(Bucket='buc', Key='a')
    rows = listed(door, Prefix='a')
    expect([(kind, latest) for _, _, kind, latest in rows],
           [('v', False)] * 3 + [('m', True)])
    s3.create_bucket(Bucket='plain')
    s3.put_object(Bucket='plain', Key='k', Body=b'x')
    plain = s3.list_object_versions(Bucket='plain')['Versions']
    expect([(v['VersionId'], v['IsLatest']) for v in plain], [('null', True)])


@test
def copies(door):
    """CopyObject and UploadPartCopy of a version; a completion makes one."""
    s3 = door.s3
    old, new = put(door, 'k', b'old'), put(door, 'k', b'new')
    source = {'Bucket': 'buc', 'Key': 'k', 'VersionId': old}
    copied = s3.copy_object(Bucket='buc', Key='c', CopySource=source)
    expect((copied['CopySourceVersionId'], read(door, 'c')), (old, b'old'))
    back = s3.copy_object(Bucket='buc', Key='k', CopySource=source)['VersionId']
    expect((read(door, 'k'), back in (old, new)), (b'old', False))
    expect(read(door, 'k', VersionId=new), b'new')
    marker = s3.delete_object(Bucket='buc', Key='k')['VersionId']
    refused(s3.copy_object, 'InvalidRequest', 400, Bucket='buc', Key='c',
            CopySource={**source, 'VersionId': marker})
    refused(s3.copy_object, 'NoSuchKey', 404, Bucket='buc', Key='c',
            CopySource={'Bucket': 'buc', 'Key': 'k'})
    upload = s3.create_multipart_upload(Bucket='buc', Key='m')['UploadId']
    part = s3.upload_part_copy(Bucket='buc', Key='m', UploadId=upload, PartNumber=1,
                               CopySource={**source, 'VersionId': new})
    parts = [{'PartNumber': 1, 'ETag': part['CopyPartResult']['ETag']}]
    done = s3.complete_multipart_upload(Bucket='buc', Key='m', UploadId=upload,
                                        MultipartUpload={'Parts': parts})
    got = s3.get_object(Bucket='buc', Key='m')
    expect((got['Body'].read(), got['VersionId']), (b'new', done['VersionId']))


@test
def tags(door):
    """Tags belong to one version."""
    s3, where = door.s3, {'Bucket': 'buc', 'Key': 'k'}
    first = s3.put_object(**where, Body=b'1', Tagging='a=1')['VersionId']
    second = put(door, 'k', b'2')
    one = {'TagSet': [{'Key': 'b', 'Value': '2'}]}
    got = s3.put_object_tagging(**where, VersionId=first, Tagging=one)
    expect(got['VersionId'], first)
    got = s3.get_object_tagging(**where, VersionId=first)
    expect((got['VersionId'], got['TagSet']), (first, one['TagSet']))
    got = s3.get_object_tagging(**where)
    expect((got['VersionId'], got['TagSet']), (second, []))
    expect(s3.head_object(**where, VersionId=first)['ResponseMetadata']['HTTPHeaders']
           ['x-amz-tagging-count'], '1')
    expect(len(listed(door)), 2)
    marker = s3.delete_object(**where)['VersionId']
    refused(s3.put_object_tagging, 'NoSuchKey', 404, **where, Tagging=one)
    refused(s3.put_object_tagging, 'MethodNotAllowed', 405, **where, VersionId=marker, Tagging=one)
    refused(s3.get_object_tagging, 'MethodNotAllowed', 405, **where, VersionId=marker)
    s3.delete_object_tagging(**where, VersionId=first)
    expect(s3.get_object_tagging(**where, VersionId=first)['TagSet'], [])
    s3.delete_object(**where, VersionId=first)
    refused(s3.put_object_tagging, 'NoSuchVersion', 404, **where, VersionId=first, Tagging=one)


if __name__ == '__main__':
    sys.exit(SUITE.main(sys.argv, __doc__))
